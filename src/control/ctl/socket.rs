//! The socket's file: one daemon a path, no wider than asked, gone after a clean stop.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket};

/// Connections that may wait for accept.
const BACKLOG: u32 = 32;

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another ixmapd answers on {}: stop it, or choose another path with --socket", .0.display())]
    Taken(PathBuf),
    #[error("{} is no socket: move it away, or choose another path with --socket", .0.display())]
    NotASocket(PathBuf),
    #[error("{}: {source}: choose a path that this user may create with --socket", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A bound control socket. Its file is removed with it.
#[derive(Debug)]
pub struct Listener {
    pub(super) listener: UnixListener,
    _file: SocketFile,
}

impl Listener {
    /// Binds the socket: mode 0660 for `group`'s id, 0600 without one. A file that a dead daemon
    /// left behind is replaced. Must be called in a tokio runtime.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Listener, BindError> {
        let failed = |source| BindError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(failed)?;
        }
        make_way(path)?;
        let listener = listen(path).map_err(failed)?;
        let file = SocketFile::new(path).map_err(failed)?;
        if group.is_some() {
            chown(path, None, group).map_err(failed)?;
            fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed)?;
        }
        Ok(Listener {
            listener,
            _file: file,
        })
    }
}

/// Removes what a dead daemon left; refuses what is alive or is no socket.
fn make_way(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(BindError::Taken(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        },
    }
}

/// A listening socket whose file is 0600 from its first moment: on Linux the mode that a socket
/// has before bind(2) becomes its file's.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    let descriptor: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    File::from(descriptor).set_permissions(Permissions::from_mode(0o600))?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

/// Removes the socket's file, if it is still the one that was made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        let made = fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            device: made.dev(),
            inode: made.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if !ours {
            return;
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{}: {error}: remove it by hand", self.path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_private_unless_a_group_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/ixmapd.sock");
        let listener = Listener::bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        assert!(!path.exists());

        // Any group of this process will do: chown to another needs root.
        let own = fs::metadata(directory.path()).unwrap().gid();
        let _listener = Listener::bind(&path, Some(own)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(fs::symlink_metadata(&path).unwrap().gid(), own);
    }

    #[tokio::test]
    async fn a_second_daemon_on_the_same_path_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _first = Listener::bind(&path, None).unwrap();
        let error = Listener::bind(&path, None).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)));
        assert!(error.to_string().starts_with("another ixmapd answers on "));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_a_dead_daemon_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _listener = Listener::bind(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        fs::write(&path, "precious").unwrap();
        let error = Listener::bind(&path, None).unwrap_err();
        assert!(matches!(error, BindError::NotASocket(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_successors_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let first = Listener::bind(&path, None).unwrap();
        // The inode of the first stays taken while its file lives under another name.
        fs::rename(&path, directory.path().join("old")).unwrap();
        let _second = Listener::bind(&path, None).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
