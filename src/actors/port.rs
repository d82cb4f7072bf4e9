//! A port: the place where the one who answers a message is plugged in.
//!
//! Actors are given ports, not addresses. Who answers `M` plugs its `Recipient<M>` in when it
//! starts; after a restart it does so again, so nobody ever holds a stale address. A younger
//! sibling may be reached by a port of an older one in this way (architecture 3), since nothing
//! waits: an ask is always a spawned future with a deadline.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use actix::dev::{MessageResponse, ToEnvelope};
use actix::{Actor, Addr, Handler, Message, Recipient};

/// See the module documentation. Lives on one thread, as all our actors do.
pub struct Port<M: Message + Send + 'static>(Rc<RefCell<Option<Recipient<M>>>>)
where
    M::Result: Send;

/// Nobody answered: not plugged in, gone, or too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody answers now")]
pub struct NoAnswer;

impl<M: Message + Send + 'static> Port<M>
where
    M::Result: Send,
{
    /// Makes `answerer` the one who answers from now on.
    pub fn plug<A>(&self, answerer: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        <A as Handler<M>>::Result: MessageResponse<A, M>,
    {
        *self.0.borrow_mut() = Some(answerer.clone().recipient());
    }

    /// Like `plug`, with a recipient (for tests and probes).
    pub fn plug_recipient(&self, answerer: Recipient<M>) {
        *self.0.borrow_mut() = Some(answerer);
    }

    /// Nobody answers until the next `plug`.
    pub fn unplug(&self) {
        *self.0.borrow_mut() = None;
    }

    /// Whether somebody alive is plugged in.
    pub fn is_live(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(Recipient::connected)
    }

    /// Sends a notice, if there is somebody to take it; what must not be lost is in a store.
    pub fn tell(&self, message: M) {
        if let Some(recipient) = &*self.0.borrow() {
            recipient.do_send(message);
        }
    }

    /// Asks, with a deadline. The future may be spawned; it must never be waited for in a handler.
    pub fn ask(
        &self,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Result, NoAnswer>> + 'static + use<M> {
        let request = self.0.borrow().as_ref().map(|recipient| recipient.send(message));
        async move {
            match request {
                Some(request) => request.timeout(deadline).await.map_err(|_| NoAnswer),
                None => Err(NoAnswer),
            }
        }
    }

    /// As `ask`, for what is to be done whoever waits for the answer: a message that is only asked
    /// is never handled if the asker has gone before its turn.
    pub fn order(
        &self,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Result, NoAnswer>> + 'static + use<M> {
        let asked = actix::spawn(self.ask(message, deadline));
        async move { asked.await.unwrap_or(Err(NoAnswer)) }
    }

    /// The recipient as it is now, for threads that answer later.
    pub fn recipient(&self) -> Option<Recipient<M>> {
        self.0.borrow().clone()
    }
}

impl<M, T, E> Port<M>
where
    M: Message<Result = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Display + Send + 'static,
{
    /// As `ask`; what went wrong, in words.
    pub fn ask_in_words(
        &self,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<T, String>> + 'static + use<M, T, E> {
        let asked = self.ask(message, deadline);
        async move {
            match asked.await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

impl<M: Message + Send + 'static> Clone for Port<M>
where
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Port(Rc::clone(&self.0))
    }
}

impl<M: Message + Send + 'static> Default for Port<M>
where
    M::Result: Send,
{
    fn default() -> Self {
        Port(Rc::new(RefCell::new(None)))
    }
}
