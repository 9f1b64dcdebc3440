//! Waiting for the network on a thread that may wait.
//!
//! The archive is read and written step by step, on threads that wait for the disk. Requests
//! run on a few threads of their own, so that one may wait for them wherever it stands, also
//! inside a program whose other threads do something else.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for requests: they wait for the network and compute nothing.
const THREADS: usize = 2;

/// The threads, made with the first bucket.
pub(super) fn handle() -> io::Result<&'static Handle> {
    static THREADS_OF_REQUESTS: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = THREADS_OF_REQUESTS.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).enable_all();
        let built = builder.thread_name("archive-requests").build();
        built.map_err(|error| error.to_string())
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle()),
        Err(reason) => Err(io::Error::other(format!("cannot start threads: {reason}"))),
    }
}

/// Runs `work` there and waits for its end.
pub(super) fn wait<T: Send + 'static>(
    work: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let (done, waiting) = sync_channel(1);
    handle()?.spawn(async move {
        // Whoever waits is still there: it waits without a limit.
        drop(done.send(work.await));
    });
    waiting
        .recv()
        .map_err(|_| io::Error::other("a request ended badly"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_also_where_the_only_thread_is_busy_and_a_panic_is_an_error() {
        assert_eq!(wait(async { Ok(7) }).unwrap(), 7);
        let error = wait::<()>(async { panic!("a bug") }).unwrap_err();
        assert!(error.to_string().contains("ended badly"), "{error}");
    }
}
