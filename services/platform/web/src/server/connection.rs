//! One connection: what its client is doing, and for how long it may go on with that.
//!
//! Invariants: time runs for a head of which something has come, and for a client that has said nothing yet; between two
//! requests it runs much longer. A connection is closed at the server's end only where nothing has come that is not read.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::ServerConfig;

/// What the client of a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// It has connected, and nothing has come.
    Silent,
    /// Something of a request's head has come.
    Head,
    /// It waits for its answer, or reads it.
    Answer,
    /// It has been answered, and may ask again.
    Between,
}

/// Seen by the socket, the service and whoever closes the connection, which are polled by one task.
struct Course {
    stage: AtomicU8,
    /// What has come is asked of the socket itself: the runtime knows only of what had come when it last looked.
    is_looked_at_closely: AtomicBool,
}

impl Course {
    fn new() -> Self {
        Self { stage: AtomicU8::new(Stage::Silent as u8), is_looked_at_closely: AtomicBool::new(false) }
    }

    fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    fn becomes(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }
}

/// The connection's socket.
struct Wire {
    stream: TcpStream,
    course: Arc<Course>,
    config: ServerConfig,
    late: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    fn received(&mut self) {
        if self.course.is(Stage::Between) {
            self.late = None;
        }
        if !self.course.is(Stage::Answer) {
            self.course.becomes(Stage::Head);
        }
    }

    /// Without the runtime's knowledge of what there is to be read.
    fn read_now(&self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        let read = (&*SockRef::from(&self.stream)).read(into.initialize_unfilled())?;
        into.advance(read);
        Ok(read)
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if !self.course.is(Stage::Silent) && !self.course.is(Stage::Head) {
            return false;
        }
        let after = self.config.header_timeout;
        let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        late.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = into.filled().len();
        if Pin::new(&mut wire.stream).poll_read(context, into)?.is_ready() {
            if into.filled().len() > before {
                wire.received();
            }
            return Poll::Ready(Ok(()));
        }
        if wire.course.is_looked_at_closely.load(Ordering::Relaxed) {
            match wire.read_now(into) {
                Ok(read) => {
                    if read > 0 {
                        wire.received();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if wire.is_late(context) {
            return Poll::Ready(Err(io::Error::new(
                ErrorKind::TimedOut,
                "the head of a request took too long",
            )));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// An answer's body. The client may ask again once it is gone.
struct Answer {
    body: Body,
    course: Arc<Course>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.course.becomes(Stage::Between);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves one connection to its end. Once `closing` is said it ends with the answer that is under way, or at once where there
/// is none; a request of which something has come is answered before.
pub(super) async fn serve<F, E>(
    stream: TcpStream,
    config: ServerConfig,
    answer: impl Fn(Request<Incoming>) -> F,
    closing: CancellationToken,
) -> hyper::Result<()>
where
    F: Future<Output = Result<Response<Body>, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let course = Arc::new(Course::new());
    let service = hyper::service::service_fn(|request| {
        course.becomes(Stage::Answer);
        let course = course.clone();
        let answer = answer(request);
        async move { answer.await.map(|response| response.map(|body| Answer { body, course })) }
    });
    let wire = Wire { stream, course: course.clone(), config, late: None };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // It runs from one answer on until the next head is there: in the midst of a head the wire's own is shorter.
        .header_read_timeout(config.keep_alive)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = closing.cancelled() => course.is_looked_at_closely.store(true, Ordering::Relaxed),
    }
    let mut is_told = false;
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        if is_told || course.is(Stage::Head) {
            return Poll::Pending;
        }
        // Between this and the look that has just been taken is no time for anything to come.
        is_told = true;
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(context)
    })
    .await
}
