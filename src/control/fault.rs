//! What operators read when a value of theirs cannot be used: what is wrong, then the way out.

/// What is wrong with a value, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{wrong}: {remedy}")]
pub struct Fault {
    pub wrong: String,
    pub remedy: String,
}

impl Fault {
    pub(crate) fn new(wrong: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault {
            wrong: wrong.into(),
            remedy: remedy.into(),
        }
    }
}

/// The known word that `word` most likely stands for.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
}
