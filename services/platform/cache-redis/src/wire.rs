//! One connection, in the open or with TLS; and where none comes about, whether the server speaks the other way.
//!
//! Invariant: what drives a connection ends with its last clone, whatever is unanswered.

use std::io;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::OpenError;
use crate::address::Address;
use crate::tls::{self, Refusal, Tls};

/// Why Redis was not reached or does not do.
pub(crate) enum Trouble {
    /// No answer, or none in the language that was spoken.
    Unheard(String),
    /// It answers, and cannot be used now.
    Away(String),
    Wrong(OpenError),
}

pub(crate) fn trouble(error: RedisError) -> Trouble {
    let is_password = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    if is_password {
        Trouble::Wrong(OpenError::Password(error.to_string()))
    } else if error.is_io_error() || error.kind() == ErrorKind::Parse {
        Trouble::Unheard(error.to_string())
    } else {
        Trouble::Away(error.to_string())
    }
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
pub(crate) struct Wire {
    pub redis: MultiplexedConnection,
    _driver: Arc<Driver>,
}

async fn reach(address: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Wire {
    pub async fn open(
        address: &Address,
        settings: RedisConnectionInfo,
        tls: Option<Tls>,
    ) -> Result<Self, Trouble> {
        let stream = reach(address).await.map_err(|error| Trouble::Unheard(error.to_string()))?;
        let Some(tls) = tls else { return Self::over(stream, &settings).await };
        let stream = tls.shake_hands(stream).await.map_err(|refusal| match refusal {
            Refusal::NoTls(reason) => Trouble::Unheard(reason),
            Refusal::Wrong(error) => Trouble::Wrong(error),
        })?;
        Self::over(stream, &settings).await
    }

    async fn over<S>(stream: S, settings: &RedisConnectionInfo) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The deadlines are ours.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(settings, stream, config).await;
        let (redis, driver) = made.map_err(trouble)?;
        let driver = Driver(tokio::spawn(driver).abort_handle());
        Ok(Self { redis, _driver: Arc::new(driver) })
    }
}

/// Asks a server that was not understood whether it speaks the other way.
pub(crate) async fn speaks_otherwise(address: &Address) -> Option<OpenError> {
    let stream = reach(address).await.ok()?;
    match &address.tls {
        Some(_) => answers_in_the_open(stream).await.ok()?.then_some(OpenError::InTheOpen),
        None => tls::is_spoken(stream).await.then_some(OpenError::Encrypted),
    }
}

async fn answers_in_the_open(mut stream: TcpStream) -> io::Result<bool> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    // Be it that it wants a password first.
    Ok(matches!(stream.read_u8().await?, b'+' | b'-'))
}
