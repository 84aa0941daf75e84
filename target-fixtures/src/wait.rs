//! Waits for values, and retries of functions of a test's own.

use std::{
    any::Any,
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, ErrorKind, Placed, TargetError};

/// The first pause between two looks.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(1);

/// Calls `look` repeatedly, with pauses that grow from 20 ms to 1 s, until it returns a value or an error.
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # fn test(target: &Target) -> Result<()> {
/// let leader = wait_until(Duration::from_secs(10), || {
///     let state = target.cat("/run/cluster/leader")?;
///     Ok::<_, Error>((!state.is_empty()).then_some(state))
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Timeout`] if there is no value after `limit`; otherwise the error of `look`.
#[track_caller]
pub fn wait_until<T, E: From<TargetError>>(
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    match poll(limit, &mut look) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            let what = format!("wait for a value: timed out after {limit:?}");
            Err(TargetError::new(ErrorKind::Timeout, what).placed().into())
        }
        Err(error) => Err(error),
    }
}

/// Calls `look` with growing pauses until it returns a value; `None` after `limit`. Looks at least once, and once at
/// the end.
pub(crate) fn poll<T, E>(
    limit: Duration,
    look: &mut dyn FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let (started, mut pause) = (Instant::now(), FIRST);
    loop {
        let late = started.elapsed() >= limit;
        let found = look()?;
        if found.is_some() || late {
            return Ok(found);
        }
        thread::sleep(pause.min(limit.saturating_sub(started.elapsed())));
        pause = (pause * 2).min(LONGEST);
    }
}

/// The number of attempts of [`retry`], and the pauses between them.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    attempts: u32,
    pause: Duration,
    longest: Duration,
}

impl Retry {
    /// At most this many attempts, at least one. The pauses between them double from 100 ms to 10 s.
    #[must_use]
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            pause: Duration::from_millis(100),
            longest: Duration::from_secs(10),
        }
    }

    /// Sets the first pause.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sets the longest pause.
    #[must_use]
    pub fn longest_pause(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }
}

/// Calls a function until it succeeds or its attempts are used up.
///
/// A lost instance, a crash and a [`skip`](fn@crate::skip) are not retried.
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # fn test(target: &Target) -> Result<()> {
/// let page = retry(Retry::attempts(5), || target.run("curl -fsS http://mirror/list"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The error of the last attempt.
pub fn retry<T, E: 'static>(
    policy: Retry,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = policy.pause;
    for _ in 1..policy.attempts {
        match attempt() {
            Err(error) if !is_final(&error) => {}
            ended => return ended,
        }
        thread::sleep(pause.min(policy.longest));
        pause = pause.saturating_mul(2);
    }
    attempt()
}

/// True if another attempt cannot help.
fn is_final(error: &dyn Any) -> bool {
    let of_target = error.downcast_ref::<TargetError>().map(TargetError::kind);
    let kind = of_target.or(error.downcast_ref::<Error>().map(Error::kind));
    matches!(
        kind,
        Some(ErrorKind::Infra | ErrorKind::Crash | ErrorKind::Skip)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails until the given attempt.
    fn attempts(until: u32, kind: ErrorKind) -> (u32, bool) {
        let mut made = 0;
        let policy = Retry::attempts(3).pause(Duration::ZERO);
        let ended = retry(policy, || {
            made += 1;
            match made == until {
                true => Ok(()),
                false => Err(TargetError::new(kind, "not yet")),
            }
        });
        (made, ended.is_ok())
    }

    #[test]
    fn an_attempt_is_repeated_where_that_can_help() {
        assert_eq!(attempts(1, ErrorKind::Exit), (1, true));
        assert_eq!(attempts(3, ErrorKind::Exit), (3, true));
        assert_eq!(attempts(4, ErrorKind::Exit), (3, false));
        assert_eq!(attempts(2, ErrorKind::Infra), (1, false));
        assert_eq!(attempts(2, ErrorKind::Skip), (1, false));
    }

    #[test]
    fn a_value_is_waited_for() {
        let mut left = 3;
        let value = wait_until(Duration::from_secs(60), || {
            left -= 1;
            Ok::<_, TargetError>((left == 0).then_some("value"))
        });
        assert_eq!(value.ok(), Some("value"));
        let late = wait_until(Duration::ZERO, || Ok::<Option<()>, Error>(None));
        let late = late.expect_err("no value");
        assert_eq!(late.kind(), ErrorKind::Timeout);
        assert!(format!("{late:?}").contains("wait.rs"), "{late:?}");
    }
}
