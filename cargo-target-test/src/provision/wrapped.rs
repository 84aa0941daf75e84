//! A provisioner of machines that exist anyway.
//!
//! Knows the use of the machines by this process only. Never deploys or deletes.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    BoxFuture, Lease, Machine, Notice, Provisioner, Request, WaitNotice, Want, lease::Hold,
};
use crate::{
    error::{Error, ErrorKind, Result},
    run_event::CleanUp,
    sync,
};

/// Machines that are leased by name: a want's `target` is a machine's name, or empty for any machine.
pub struct Wrapped(Arc<Inner>);

struct Inner {
    machines: Vec<Machine>,
    queue: Mutex<Queue>,
    changed: Notify,
    leases: AtomicU64,
}

/// The machines in use, and the waiters.
#[derive(Debug, Default)]
struct Queue {
    used: Vec<bool>,
    /// The waiters, first one first, each with the suitable machines for each of its wants.
    waiting: VecDeque<(u64, Vec<MachineClaim>)>,
    tickets: u64,
}

/// A number of machines out of the suitable ones, by index.
#[derive(Clone, Debug)]
struct MachineClaim {
    fitting: Vec<usize>,
    count: usize,
}

/// Machines in use until this is dropped.
pub(super) struct Seat {
    wrapped: Arc<Inner>,
    machines: Vec<usize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut queue = self.wrapped.queue();
        self.machines
            .iter()
            .for_each(|machine| queue.used[*machine] = false);
        drop(queue);
        self.wrapped.changed.notify_waiters();
    }
}

/// A place in the queue until this is dropped.
struct Place<'a>(&'a Inner, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0
            .queue()
            .waiting
            .retain(|(ticket, _)| *ticket != self.1);
        self.0.changed.notify_waiters();
    }
}

impl Wrapped {
    /// A provisioner of these machines, which must have different names.
    pub fn new(machines: impl IntoIterator<Item = Machine>) -> Self {
        let machines: Vec<_> = machines.into_iter().collect();
        let queue = Queue {
            used: vec![false; machines.len()],
            ..Queue::default()
        };
        Self(Arc::new(Inner {
            machines,
            queue: Mutex::new(queue),
            changed: Notify::new(),
            leases: AtomicU64::new(0),
        }))
    }
}

impl Provisioner for Wrapped {
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>> {
        Box::pin(async move {
            let claims = request.wants.iter().map(|want| self.0.claim(want));
            let claims = claims.collect::<Result<Vec<_>>>()?;
            let place = Place(&self.0, self.0.queue().enter(claims));
            let mut notice = WaitNotice::doubling(std::time::Duration::from_secs(1));
            let picked = loop {
                let mut changed = pin!(self.0.changed.notified());
                changed.as_mut().enable();
                if let Some(picked) = self.0.queue().take(place.1)? {
                    break picked;
                }
                self.0.tell(&request, &mut notice);
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                }
            };
            Ok(self.0.lease(&request, picked))
        })
    }

    fn finish(&self, _keep: bool) -> BoxFuture<'_, Result<CleanUp>> {
        Box::pin(std::future::ready(Ok(CleanUp::default())))
    }
}

impl Inner {
    /// The machines that suit a want.
    fn claim(&self, want: &Want) -> Result<MachineClaim> {
        let does = |machine: &Machine| {
            let name = machine.name();
            let target = want.target.is_empty() || want.target == name;
            target
                && want
                    .instance
                    .as_deref()
                    .is_none_or(|instance| instance == name)
        };
        let all = self.machines.iter().enumerate();
        let fitting: Vec<_> = all.filter(|(_, one)| does(one)).map(|(at, _)| at).collect();
        match (fitting.len() < want.count, want.fresh) {
            (true, _) => {
                let (target, count, have) = (&want.target, want.count, fitting.len());
                let message =
                    format!("{count} machines `{target}` requested, but only {have} exist");
                Err(Error::new(ErrorKind::Unfit, message))
            }
            // The previous use of a wrapped machine is unknown.
            (_, true) => Err(Error::new(
                ErrorKind::Unfit,
                "wrapped machines are not fresh",
            )),
            _ => Ok(MachineClaim {
                fitting,
                count: want.count,
            }),
        }
    }

    fn lease(self: &Arc<Self>, request: &Request, picked: Vec<Vec<usize>>) -> Lease {
        let seat = Seat {
            wrapped: Arc::clone(self),
            machines: picked.concat(),
        };
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        let mark = format!("wrapped-{}-{number}", std::process::id());
        let roles = request.wants.iter().map(|want| want.role.as_deref());
        let machines = roles.zip(&picked).flat_map(|(role, picked)| {
            let machines = picked.iter().map(|at| self.machines[*at].clone());
            let mark = &mark;
            machines.map(move |machine| machine.marked(mark, role))
        });
        let machines = machines.collect();
        Lease::new(mark, machines, Hold::Wrapped(seat))
    }

    fn tell(&self, request: &Request, notice: &mut WaitNotice) {
        let target = request.wants.first().map_or("", |want| &want.target);
        let used = self.queue().used.iter().filter(|used| **used).count();
        let text = format!(
            "waiting for {target}: {used} of {} leased",
            self.machines.len()
        );
        if notice.is_due(&text) {
            request.notices.hear(&Notice {
                target: target.to_owned(),
                text,
                is_long: true,
            });
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        sync::lock(&self.queue)
    }
}

impl Queue {
    /// Takes a ticket.
    fn enter(&mut self, claims: Vec<MachineClaim>) -> u64 {
        self.tickets += 1;
        self.waiting.push_back((self.tickets, claims));
        self.tickets
    }

    /// Takes the machines of a ticket, for each of its claims, if all are free beside those that earlier tickets will
    /// take.
    ///
    /// # Errors
    /// Fails if the claims could not be met even if all machines were free.
    fn take(&mut self, ticket: u64) -> Result<Option<Vec<Vec<usize>>>> {
        let mut reserved = self.used.clone();
        for (other, claims) in &self.waiting {
            let (picked, whole) = pick(claims, &reserved);
            if *other != ticket {
                // A ticket that can never be served reserves nothing.
                if pick(claims, &vec![false; reserved.len()]).1 {
                    picked.iter().flatten().for_each(|at| reserved[*at] = true);
                }
                continue;
            }
            if whole {
                picked.iter().flatten().for_each(|at| self.used[*at] = true);
                return Ok(Some(picked));
            }
            return match pick(claims, &vec![false; reserved.len()]).1 {
                true => Ok(None),
                false => Err(Error::new(
                    ErrorKind::Unfit,
                    "the request needs more machines than exist",
                )),
            };
        }
        Ok(None)
    }
}

/// Picks free machines for each claim, lowest index first; true if every claim got all its machines.
fn pick(claims: &[MachineClaim], taken: &[bool]) -> (Vec<Vec<usize>>, bool) {
    let (mut taken, mut whole) = (taken.to_vec(), true);
    let picked = claims.iter().map(|claim| {
        let free = claim.fitting.iter().copied().filter(|at| !taken[*at]);
        let picked: Vec<_> = free.take(claim.count).collect();
        picked.iter().for_each(|at| taken[*at] = true);
        whole &= picked.len() == claim.count;
        picked
    });
    let picked = picked.collect();
    (picked, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(fitting: &[usize], count: usize) -> Vec<MachineClaim> {
        let fitting = fitting.to_vec();
        vec![MachineClaim { fitting, count }]
    }

    #[test]
    fn who_asks_for_several_is_not_starved_by_those_who_ask_for_one() {
        let mut queue = Queue {
            used: vec![true, false],
            ..Queue::default()
        };
        let both = queue.enter(claim(&[0, 1], 2));
        let one = queue.enter(claim(&[0, 1], 1));
        assert_eq!(queue.take(both).unwrap(), None);
        assert_eq!(queue.take(one).unwrap(), None, "kept for the first");
        queue.used[0] = false;
        assert_eq!(queue.take(one).unwrap(), None);
        assert_eq!(queue.take(both).unwrap(), Some(vec![vec![0, 1]]));
    }

    #[test]
    fn different_machines_are_not_waited_for() {
        let mut queue = Queue {
            used: vec![true, false],
            ..Queue::default()
        };
        let first = queue.enter(claim(&[0], 1));
        let second = queue.enter(claim(&[1], 1));
        assert_eq!(queue.take(second).unwrap(), Some(vec![vec![1]]));
        assert_eq!(queue.take(first).unwrap(), None);
        let two = [claim(&[0], 1), claim(&[0], 1)].concat();
        let never = queue.enter(two);
        assert!(queue.take(never).is_err());
    }

    #[tokio::test]
    async fn a_wrapped_machine_is_leased_and_given_back() {
        let reach = crate::connect::Reach::local(std::env::temp_dir());
        let machines = ["a", "b"].map(|name| Machine::wrap(name, &reach));
        let provisioner = Wrapped::new(machines);
        let lease = provisioner.acquire(Request::one("b")).await.unwrap();
        assert_eq!(lease.machines()[0].name(), "b");
        let said = lease.machines()[0]
            .run("echo $TARGET_TEST_LEASE")
            .await
            .unwrap();
        let said = String::from_utf8(said.success("echo").unwrap().stdout).unwrap();
        assert_eq!(said.trim(), lease.id());
        let other = provisioner.acquire(Request::one("")).await.unwrap();
        assert_eq!(other.machines()[0].name(), "a");
        {
            let waits = provisioner.acquire(Request::one("b"));
            let waits = tokio::time::timeout(std::time::Duration::from_millis(5), waits);
            assert!(waits.await.is_err());
        }
        lease.end(crate::provision::LeaseEnd::Done).await;
        provisioner.acquire(Request::one("b")).await.unwrap();
        let error = provisioner.acquire(Request::one("c")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unfit);
    }
}
