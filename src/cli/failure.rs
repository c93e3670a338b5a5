//! Why a command did not work: one line for a person, whatever it was.

use std::error::Error;
use std::fmt;

/// Any error, shown with its causes on one line.
///
/// Typed errors end here: behind this point nobody decides by them any more.
#[derive(Debug)]
pub struct Failure(Box<dyn Error + Send + Sync>);

/// How a command ended, or why not.
pub type Outcome = Result<super::exit::Exit, Failure>;

impl Failure {
    /// A sentence.
    pub fn said(sentence: impl Into<String>) -> Self {
        Self(sentence.into().into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries say their cause themselves.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}
