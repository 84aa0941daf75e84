//! Sends the events of a command into a bounded channel from a thread that must not block.
//!
//! Must not know SSH.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::connect::CommandEvent;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) struct Outbox {
    events: mpsc::Sender<CommandEvent>,
    backlog: VecDeque<CommandEvent>,
    /// The pending reservation of a slot in the channel.
    room: Option<BoxFuture<Result<mpsc::OwnedPermit<CommandEvent>, mpsc::error::SendError<()>>>>,
    closed: BoxFuture<()>,
    gone: bool,
}

impl Outbox {
    pub(super) fn new(events: mpsc::Sender<CommandEvent>) -> Self {
        let sender = events.clone();
        let closed = Box::pin(async move { sender.closed().await });
        Self {
            events,
            backlog: VecDeque::new(),
            room: None,
            closed,
            gone: false,
        }
    }

    pub(super) fn push(&mut self, event: CommandEvent) {
        if !self.gone {
            self.backlog.push_back(event);
        }
    }

    /// True if events wait for room in the channel.
    pub(super) fn is_full(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// True if the receiver is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Sends as many events as the channel holds, and registers `context` to be woken when there is room or when the
    /// receiver is dropped.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        if !self.gone && self.closed.as_mut().poll(context).is_ready() {
            self.gone = true;
        }
        if self.gone {
            self.backlog.clear();
            self.room = None;
        }
        while let Some(event) = self.backlog.pop_front() {
            let event = match self.room.take() {
                None => match self.events.try_send(event) {
                    Ok(()) => continue,
                    Err(TrySendError::Full(event) | TrySendError::Closed(event)) => event,
                },
                Some(mut room) => match room.as_mut().poll(context) {
                    Poll::Ready(Ok(permit)) => {
                        permit.send(event);
                        continue;
                    }
                    Poll::Ready(Err(_)) => event,
                    Poll::Pending => {
                        self.room = Some(room);
                        self.backlog.push_front(event);
                        return;
                    }
                },
            };
            if self.events.is_closed() {
                self.gone = true;
                self.backlog.clear();
                return;
            }
            self.backlog.push_front(event);
            self.room = Some(Box::pin(self.events.clone().reserve_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::poll_waker::PollWaker;
    use super::*;
    use target_fixtures::wire::Exit;

    #[test]
    fn all_events_arrive_and_a_dropped_receiver_is_noticed() {
        let waker = Arc::new(PollWaker::new()).into();
        let mut context = Context::from_waker(&waker);
        let (sender, mut receiver) = mpsc::channel(2);
        let mut outbox = Outbox::new(sender);
        for code in 0..9 {
            outbox.push(CommandEvent::Exited(Exit::Code(code)));
        }
        for code in 0..9 {
            outbox.flush(&mut context);
            let Ok(CommandEvent::Exited(exit)) = receiver.try_recv() else {
                panic!("{code} is missing")
            };
            assert_eq!(exit, Exit::Code(code));
        }
        assert!(!outbox.is_full() && !outbox.is_gone());
        drop(receiver);
        outbox.flush(&mut context);
        assert!(outbox.is_gone());
    }
}
