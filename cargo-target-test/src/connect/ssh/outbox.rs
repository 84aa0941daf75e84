//! A command's events on their way out, when the reader may be slow or gone.
//!
//! Owns the waiting for room in a bounded channel from a thread that is no task. Must not know SSH.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::connect::Event;

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) struct Outbox {
    events: mpsc::Sender<Event>,
    backlog: VecDeque<Event>,
    room: Option<Waiting<Result<mpsc::OwnedPermit<Event>, mpsc::error::SendError<()>>>>,
    closed: Waiting<()>,
    gone: bool,
}

impl Outbox {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
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

    pub(super) fn push(&mut self, event: Event) {
        if !self.gone {
            self.backlog.push_back(event);
        }
    }

    /// Whether events wait for room: whoever makes more should stop.
    pub(super) fn is_full(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether nobody will read any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Sends what there is room for, and has `context` woken when there is more or nobody reads.
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
    fn loses_nothing_and_notices_who_leaves() {
        let waker = Arc::new(PollWaker::new()).into();
        let mut context = Context::from_waker(&waker);
        let (sender, mut receiver) = mpsc::channel(2);
        let mut outbox = Outbox::new(sender);
        for code in 0..9 {
            outbox.push(Event::Exited(Exit::Code(code)));
        }
        for code in 0..9 {
            outbox.flush(&mut context);
            let Ok(Event::Exited(exit)) = receiver.try_recv() else {
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
