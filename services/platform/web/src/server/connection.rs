//! One connection: what its client is doing, and for how long it may go on with that.
//!
//! Invariants: time runs for a head from its first byte on, and for a client that has said nothing yet; between two requests it
//! runs much longer. What comes while no head is waited for begins none: it may be the rest of a body that nobody has asked for,
//! and a head that came in part with the request before it begins with its next byte. At a stop a connection is closed only where
//! its socket says that nothing has come.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
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

/// Seen by the socket, the timer, the service and whoever closes the connection, which are polled by one task.
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

    fn received(&self) {
        if !self.is(Stage::Answer) {
            self.becomes(Stage::Head);
        }
    }
}

/// Says how long a head is waited for. hyper asks once it has read the request before and written its answer, and tells nobody else.
struct Patience {
    course: Arc<Course>,
    config: ServerConfig,
}

impl Patience {
    fn wait(&self) -> Pin<Box<dyn Sleep>> {
        let time = if self.course.is(Stage::Answer) {
            self.course.becomes(Stage::Between);
            self.config.keep_alive
        } else {
            self.config.header_timeout
        };
        Box::pin(Wait {
            course: self.course.clone(),
            header_timeout: self.config.header_timeout,
            has_begun: false,
            sleep: Box::pin(tokio::time::sleep(time)),
        })
    }
}

impl Timer for Patience {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.wait()
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.wait()
    }
}

/// Over when the head that is waited for comes too late. It is asked each time after the socket was.
struct Wait {
    course: Arc<Course>,
    header_timeout: Duration,
    /// Whether the head has.
    has_begun: bool,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.has_begun && self.course.is(Stage::Head) {
            self.has_begun = true;
            let end = Instant::now() + self.header_timeout;
            self.sleep.as_mut().reset(end);
        }
        self.sleep.as_mut().poll(context)
    }
}

impl Sleep for Wait {}

/// The connection's socket.
struct Wire {
    stream: TcpStream,
    course: Arc<Course>,
}

impl Wire {
    /// Without the runtime's knowledge of what there is to be read.
    fn read_now(&self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        let read = (&*SockRef::from(&self.stream)).read(into.initialize_unfilled())?;
        into.advance(read);
        Ok(read)
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
                wire.course.received();
            }
            return Poll::Ready(Ok(()));
        }
        if wire.course.is_looked_at_closely.load(Ordering::Relaxed) {
            match wire.read_now(into) {
                Ok(read) => {
                    if read > 0 {
                        wire.course.received();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
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
        answer(request)
    });
    let wire = Wire { stream, course: course.clone() };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(Patience { course: course.clone(), config })
        // Without it no wait has an end; when that comes is said by the timer.
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
        // The look at the socket has just been taken: hardly anything comes in between.
        is_told = true;
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(context)
    })
    .await
}
