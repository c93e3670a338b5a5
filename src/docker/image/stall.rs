//! Giving up on what does not advance.
//!
//! A pull may take an hour and be well, or hang after a second: only its progress tells. Whoever makes the call knows how
//! long is too long, so this is a wrapper and no part of the call.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, timeout_at};

/// It stood still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no progress for {} s ({last})", patience.as_secs_f64())]
pub struct Stalled {
    /// For how long.
    pub patience: Duration,
    /// Where.
    pub last: String,
}

/// Something that can be seen to advance.
pub trait Advance: fmt::Display {
    /// Is there more of it than before?
    fn advanced_since(&self, before: &Self) -> bool;
}

/// The same stream, which ends with an error when it has not advanced for `patience`. What it waits for is dropped then, and
/// so the engine hears of it.
pub fn no_progress_for<T, E>(
    progress: BoxStream<'static, Result<T, E>>,
    patience: Duration,
) -> BoxStream<'static, Result<T, E>>
where
    T: Advance + Clone + Send + 'static,
    E: From<Stalled> + Send + 'static,
{
    let watched = Watched { progress, last: None, deadline: Instant::now() + patience };
    stream::unfold(Some(watched), move |watched| async move {
        let mut watched: Watched<T, E> = watched?;
        match timeout_at(watched.deadline, watched.progress.next()).await {
            Ok(Some(Ok(item))) => {
                if watched.last.as_ref().is_none_or(|last| item.advanced_since(last)) {
                    watched.deadline = Instant::now() + patience;
                }
                watched.last = Some(item.clone());
                Some((Ok(item), Some(watched)))
            }
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_elapsed) => {
                let last =
                    watched.last.map_or_else(|| "no word yet".to_owned(), |at| at.to_string());
                Some((Err(Stalled { patience, last }.into()), None))
            }
        }
    })
    .boxed()
}

struct Watched<T, E> {
    progress: BoxStream<'static, Result<T, E>>,
    last: Option<T>,
    deadline: Instant,
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::docker::image::{PullError, PullProgress};

    /// Long enough that a busy machine's pause between two ticks is no standstill.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Progress by these numbers of bytes, a tenth of the patience apart; then silence.
    fn pull(
        bytes: impl Iterator<Item = u64> + Send + 'static,
    ) -> BoxStream<'static, Result<PullProgress, PullError>> {
        stream::iter(bytes)
            .then(move |bytes_current| async move {
                sleep(PATIENCE / 10).await;
                Ok(PullProgress { bytes_current, ..PullProgress::default() })
            })
            .chain(stream::pending())
            .boxed()
    }

    /// How much was seen before it was given up, and what was said then.
    async fn seen(bytes: impl Iterator<Item = u64> + Send + 'static) -> (usize, String) {
        let mut watched = no_progress_for(pull(bytes), PATIENCE);
        let mut count = 0;
        loop {
            match watched.next().await.unwrap() {
                Ok(_) => count += 1,
                Err(error) => {
                    assert!(watched.next().await.is_none(), "the error is the end");
                    return (count, error.to_string());
                }
            }
        }
    }

    #[tokio::test]
    async fn what_advances_may_take_longer_than_the_patience() {
        let (count, error) = seen(1..=15).await;
        assert_eq!(count, 15);
        assert_eq!(error, "the pull was given up: no progress for 1 s (asking the registry)");
    }

    #[tokio::test]
    async fn words_that_say_nothing_new_do_not_count() {
        let (count, _) = seen(std::iter::repeat(7)).await;
        assert!((1..=11).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn what_never_says_a_word_is_given_up_too() {
        let (count, error) = seen(std::iter::empty()).await;
        assert!(count == 0 && error.contains("no word yet"), "{error}");
    }
}
