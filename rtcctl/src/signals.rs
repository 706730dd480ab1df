//! Ctrl-C and SIGTERM: the first asks the running command to stop cleanly, the second leaves at once.
//!
//! Invariants: a signal is seen by everybody who waits, also when it came before they waited; before leaving on the
//! second one, the operator reads what that costs.

use std::sync::{Arc, Mutex, PoisonError};

use codes::Error;
use codes::exit::{self, Exit};
use tokio::sync::watch;

use crate::io::Sink;

/// Who asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    pub fn exit(self) -> Exit {
        match self {
            Signal::Interrupt => exit::INTERRUPTED,
            Signal::Terminate => exit::TERMINATED,
        }
    }

    /// The error that a command ends with after it has stopped; `state` says what state things are in.
    pub fn error(self, state: impl Into<String>) -> Error {
        match self {
            Signal::Interrupt => Error::new(&codes::SIG001, format!("interrupted: {}", state.into())),
            Signal::Terminate => Error::new(&codes::SIG002, format!("terminated: {}", state.into())),
        }
    }
}

/// The wish to stop, seen from a command.
#[derive(Clone)]
pub struct Interrupts {
    receiver: watch::Receiver<Option<Signal>>,
    cost: Arc<Mutex<String>>,
    last_act: Arc<Mutex<Option<LastAct>>>,
}

/// Done on the second signal, before the process leaves.
type LastAct = Box<dyn FnOnce() + Send>;

/// The other end of [`Interrupts`].
pub struct Trigger(watch::Sender<Option<Signal>>);

impl Trigger {
    pub fn fire(&self, signal: Signal) {
        self.0.send_modify(|seen| *seen = seen.or(Some(signal)));
    }
}

impl Interrupts {
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(None);
        (Trigger(sender), Self { receiver, cost: Arc::default(), last_act: Arc::default() })
    }

    /// Listens to the process's signals from now on. Must be called inside the runtime.
    pub fn listen(stderr: Sink) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (trigger, interrupts) = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (cost, last_act) = (interrupts.cost.clone(), interrupts.last_act.clone());
        tokio::spawn(async move {
            let mut first = true;
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if !first {
                    let cost = cost.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let cost = if cost.is_empty() { "the command did not finish".to_owned() } else { cost };
                    let _ = stderr.write(&format!("\nleaving now: {cost}\n"));
                    let last_act = last_act.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(last_act) = last_act {
                        last_act();
                    }
                    std::process::exit(i32::from(signal.exit().code()));
                }
                first = false;
                trigger.fire(signal);
            }
        });
        Ok(interrupts)
    }

    /// Says what leaving at once would cost, for the moment of the second signal.
    pub fn cost_of_leaving(&self, cost: impl Into<String>) {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner) = cost.into();
    }

    /// Gives what is done on the second signal before leaving: a moment's work, for a process that would be left.
    pub fn before_leaving(&self, act: impl FnOnce() + Send + 'static) {
        *self.last_act.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
    }

    /// What was given is not done any more.
    pub fn nothing_before_leaving(&self) {
        *self.last_act.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits for the first signal; never returns when there can be none any more.
    pub async fn wait(&self) -> Signal {
        let mut receiver = self.receiver.clone();
        loop {
            if let Some(signal) = *receiver.borrow_and_update() {
                return signal;
            }
            if receiver.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    pub fn seen(&self) -> Option<Signal> {
        *self.receiver.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_came_before_the_wait_is_seen() {
        let (trigger, interrupts) = Interrupts::new();
        assert_eq!(interrupts.seen(), None);
        trigger.fire(Signal::Interrupt);
        assert_eq!(interrupts.wait().await, Signal::Interrupt);
    }

    #[tokio::test]
    async fn the_first_signal_decides_the_exit_code() {
        let (trigger, interrupts) = Interrupts::new();
        trigger.fire(Signal::Terminate);
        trigger.fire(Signal::Interrupt);
        let error = interrupts.wait().await.error("nothing was changed");
        assert_eq!(error.exit(), exit::TERMINATED);
        assert_eq!(error.message(), "terminated: nothing was changed");
    }
}
