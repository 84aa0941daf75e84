//! The runtime of one command.

use crate::error::Result;

/// Runs a command's work on a new runtime of this thread: child processes are killed when the thread that started them
/// ends. Background work that ignores its cancellation does not delay the return.
///
/// # Errors
/// Fails if the runtime cannot be created; otherwise the error of the work.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
