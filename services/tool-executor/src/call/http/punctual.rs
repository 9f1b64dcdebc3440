//! A request that begins in time or not at all.
//!
//! The client connects first, and the process may stand still meanwhile. So the clock is
//! asked once more by the body: it is taken when the head is written to a buffer, before
//! anything of either is sent, and one that is late breaks the request there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The request was not begun in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the time to begin is over")]
pub(super) struct Late;

/// Whether the body was asked for too late.
#[derive(Debug, Clone, Default)]
pub(super) struct Lateness(Arc<AtomicBool>);

impl Lateness {
    /// Whether the body was asked for too late, so that nothing was sent.
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The body of a call.
#[derive(Debug)]
pub(super) struct Punctual {
    bytes: Option<Bytes>,
    begin_by: Instant,
    late: Lateness,
}

impl Punctual {
    /// A body that is given away before `begin_by` only.
    pub(super) fn new(bytes: Bytes, begin_by: Instant) -> (Self, Lateness) {
        let late = Lateness::default();
        let body = Self {
            bytes: Some(bytes),
            begin_by,
            late: late.clone(),
        };
        (body, late)
    }
}

impl Body for Punctual {
    type Data = Bytes;
    type Error = Late;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Late>>> {
        let this = self.get_mut();
        let Some(bytes) = this.bytes.take() else {
            return Poll::Ready(None);
        };
        if Instant::now() < this.begin_by {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        this.late.0.store(true, Ordering::Release);
        Poll::Ready(Some(Err(Late)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(bytes).unwrap_or_default())
    }
}
