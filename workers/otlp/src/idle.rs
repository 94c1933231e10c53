//! A connection on which nothing moves is closed: a stalled client holds nothing up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A connection that fails once nothing was read or written for so long.
pub(crate) struct Idle<T> {
    connection: T,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<T> Idle<T> {
    pub(crate) fn new(connection: T, limit: Duration) -> Self {
        Self {
            connection,
            limit,
            timer: Box::pin(sleep(limit)),
        }
    }

    /// Notes what moved, or fails when nothing did for too long.
    fn watch<R>(&mut self, moved: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if moved.is_ready() {
            self.timer.as_mut().reset(Instant::now() + self.limit);
            return moved;
        }
        match self.timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Idle<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.connection).poll_read(context, buffer);
        self.watch(moved, context)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Idle<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.watch(moved, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_moves_stays_and_what_does_not_is_closed() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Idle::new(server, Duration::from_millis(50));
        client.write_all(b"ab").await.unwrap();
        let mut two = [0; 2];
        server.read_exact(&mut two).await.unwrap();
        let error = server.read_exact(&mut two).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
