//! A Unix socket that has a path: whoever comes first listens there, the next one connects.
//! A socket that nobody listens on any more is replaced, and nothing else at the path is touched.
//! What [`Listener`] made it removes again.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SocketFileError {
    #[error("{} exists and is not a socket: remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    #[error("{}: somebody serves this socket already: choose another path", .0.display())]
    InUse(PathBuf),
    #[error("{}: cannot listen: {error}", path.display())]
    Listen { path: PathBuf, error: io::Error },
}

/// Which end of the socket one has become.
pub(crate) enum End {
    Connected(OwnedFd),
    Listening(Listener),
}

/// A listening socket and the file that it is bound to.
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    file: Identity,
}

/// Device and inode of a file.
type Identity = (u64, u64);

/// Connects to whoever listens at `path`, or listens there. Neither socket blocks.
pub(crate) fn open(path: &Path, kind: SocketType) -> Result<End, SocketFileError> {
    let failed = |error: io::Error| match Errno::from_io_error(&error) {
        // Its queue is full, it is of another type, or it was there first.
        Some(Errno::AGAIN | Errno::PROTOTYPE | Errno::ADDRINUSE) => {
            SocketFileError::InUse(path.to_owned())
        }
        _ => SocketFileError::Listen {
            path: path.to_owned(),
            error,
        },
    };
    let address = SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
    let connecting = socket(kind).map_err(|error| failed(error.into()))?;
    match connect(&connecting, &address) {
        Ok(()) => return Ok(End::Connected(connecting)),
        Err(Errno::NOENT) => {}
        // Nobody listens, which connect() says of whatever is no socket, too.
        Err(Errno::CONNREFUSED) if is_socket(path).map_err(failed)? => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(Errno::CONNREFUSED) => return Err(SocketFileError::NotASocket(path.to_owned())),
        Err(error) => return Err(failed(error.into())),
    }
    let listener = Listener::new(path, kind, &address).map_err(failed)?;
    Ok(End::Listening(listener))
}

impl Listener {
    fn new(path: &Path, kind: SocketType, address: &SocketAddrUnix) -> io::Result<Listener> {
        let socket = socket(kind)?;
        bind(&socket, address)?;
        let listener = Listener {
            socket,
            path: path.to_owned(),
            file: identity(path)?,
        };
        listen(&listener.socket, 1)?;
        Ok(listener)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    /// The socket is still open here, so that no other file can have got its inode.
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

fn is_socket(path: &Path) -> io::Result<bool> {
    Ok(std::fs::symlink_metadata(path)?.file_type().is_socket())
}

fn identity(path: &Path) -> io::Result<Identity> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;

    fn listens(path: &Path) -> Listener {
        match open(path, SocketType::STREAM).unwrap() {
            End::Listening(listener) => listener,
            End::Connected(_) => panic!("somebody else listens"),
        }
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes");
        fs::write(&file, "precious").unwrap();
        let stale = directory.path().join("stale");
        drop(UnixListener::bind(&stale).unwrap());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&stale, &link).unwrap();

        for path in [&file, &link, &directory.path().to_owned()] {
            let Err(error) = open(path, SocketType::SEQPACKET) else {
                panic!("{path:?} is taken for a socket");
            };
            let text = "exists and is not a socket: remove it or choose another path";
            assert_eq!(error.to_string(), format!("{} {text}", path.display()));
        }
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&link).is_ok() && stale.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_the_own_one_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = listens(&path);
        let other = open(&path, SocketType::STREAM);
        assert!(matches!(other, Ok(End::Connected(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_another_type_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = listens(&path);
        let other = open(&path, SocketType::SEQPACKET);
        assert!(matches!(other, Err(SocketFileError::InUse(_))));
    }

    #[test]
    fn what_was_put_in_place_of_the_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = listens(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(listener);
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        fs::remove_file(&path).unwrap();
        let listener = listens(&path);
        fs::remove_file(&path).unwrap();
        let successor = listens(&path);
        drop(listener);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
    }
}
