//! One call: machines that satisfy a request, whatever it takes to have them.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use cargo_target_test::{
    ErrorKind, Result,
    execute::{Executor, LocalLauncher, ShellTests},
    plan::Needs,
    provision::{
        IfMissing, InstanceSet, Lease, LeaseEnd, PoolProvisioner, Provisioner, Request, Wanted,
    },
    run_event::{Attempt, RunEventKind, Sink},
};
use tokio::{runtime::Runtime, time::timeout};

use super::fake::World;

/// A provisioner of one target in a world of its own.
struct Test {
    world: World,
    runtime: Runtime,
    provisioner: PoolProvisioner,
    set: Arc<InstanceSet>,
}

impl Test {
    fn new(wanted: impl FnOnce(&World) -> Vec<Wanted>) -> Self {
        let world = World::new();
        let wanted = wanted(&world);
        let provisioner = PoolProvisioner::new(world.run("1", "/one"), Path::new("/none"), |_| {});
        let set = provisioner.add(InstanceSet::new(wanted, 0, "alpha".to_owned(), 1.0));
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            world,
            runtime: { runtime }.enable_all().build().unwrap(),
            provisioner,
            set,
        }
    }

    /// One machine that is made.
    fn made() -> Self {
        Self::new(|world| vec![world.wanted("alpha", 0, 22)])
    }

    fn request(&self, count: u32) -> Request {
        Request {
            wants: vec![self.set.want(count, &Needs::new())],
            ..Request::default()
        }
    }

    fn acquire(&self, request: Request) -> Result<Lease> {
        self.runtime.block_on(self.provisioner.acquire(request))
    }

    fn end(&self, lease: Lease, end: LeaseEnd) {
        self.runtime.block_on(lease.end(end));
    }

    /// Gives up a request after this time.
    fn give_up(&self, request: Request, after: u64) {
        let asked = self.provisioner.acquire(request);
        let limit = Duration::from_millis(after);
        let given_up = self.runtime.block_on(async { timeout(limit, asked).await });
        assert!(given_up.is_err(), "it was granted");
    }

    fn tickets(&self) -> usize {
        let tickets = self.world.folder.join("pool/tickets");
        fs::read_dir(tickets).unwrap().count()
    }
}

/// The one machine's record.
fn id(lease: &Lease) -> String {
    lease.machines()[0].record().unwrap().id.clone()
}

#[test]
fn a_machine_is_deployed_leased_and_deleted() {
    let test = Test::made();
    let lease = test.acquire(test.request(1)).unwrap();
    let [machine] = lease.machines() else {
        panic!("one machine");
    };
    assert_eq!(machine.name(), "alpha-0");
    assert!(machine.is_unused());
    let said = test
        .runtime
        .block_on(machine.run("echo $TARGET_TEST_LEASE"));
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    assert_eq!(said.trim(), lease.id());
    test.end(lease, LeaseEnd::Done);
    let report = test.runtime.block_on(test.provisioner.finish(false));
    assert_eq!(report.unwrap().deleted, ["alpha-0"]);
    test.world.assert_empty();
}

/// The end of a lost machine's console is emitted, also by a test that found out.
#[test]
fn the_console_of_a_lost_machine_is_emitted() {
    let test = Test::made();
    let text = "booting\n".repeat(4096) + "Kernel panic\n";
    fs::write(test.world.folder.join("console"), text).unwrap();
    let output = tempfile::tempdir().unwrap();
    let tests = ShellTests::new(output.path()).command("breaks", r#"rm -r "$PWD"; exit 3"#);
    let lease = test.acquire(test.request(1)).unwrap();
    let emitted = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&emitted);
    let sink = Sink::new(move |kind| all.lock().unwrap().push(kind));
    let (cases, launcher) = (tests.cases(), LocalLauncher);
    let attempt = Attempt::first(&cases[0]);
    let run = tests.run(&attempt, &lease, &launcher, &sink);
    let result = test.runtime.block_on(run);
    assert!(result.verdict.is_infra(), "{result:?}");
    let emitted = emitted.lock().unwrap();
    let [RunEventKind::Console { instance, text, .. }] = &emitted[..] else {
        panic!("{emitted:?}");
    };
    assert_eq!(instance, "alpha-0");
    assert!(text.ends_with("booting\nKernel panic\n"), "{text}");
    assert_eq!(text.len(), 16 << 10);
    test.end(lease, LeaseEnd::Failed);
    let report = test.runtime.block_on(test.provisioner.finish(false));
    assert_eq!(report.unwrap().failed, []);
    test.world.assert_empty();
}

/// A request that names no target gets whatever is free first, and gives up its other places.
#[test]
fn any_target_will_do() {
    let test = Test::made();
    let beta = vec![test.world.wanted("beta", 0, 22)];
    test.provisioner
        .add(InstanceSet::new(beta, 0, "beta".to_owned(), 1.0));
    let any = || Request::one("");
    let (first, second) = (test.acquire(any()).unwrap(), test.acquire(any()).unwrap());
    let mut names = [&first, &second].map(|lease| lease.machines()[0].name().to_owned());
    names.sort();
    assert_eq!(names, ["alpha-0", "beta-0"]);
    test.give_up(any(), 50);
    assert_eq!(test.tickets(), 0);
    test.end(first, LeaseEnd::Done);
    let again = test.acquire(any()).unwrap();
    assert_eq!(test.tickets(), 0);
    test.end(again, LeaseEnd::Done);
    test.end(second, LeaseEnd::Done);
    let named = |instance: &str| {
        let mut request = any();
        request.wants[0].instance = Some(instance.to_owned());
        test.acquire(request)
    };
    let named_beta = named("beta-0").unwrap();
    assert_eq!(named_beta.machines()[0].name(), "beta-0");
    let error = named("gamma-0").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unfit);
}

#[test]
fn a_fresh_machine_is_one_that_no_test_had() {
    for made in [true, false] {
        let test = Test::new(|world| match made {
            true => vec![world.wanted("alpha", 0, 22)],
            false => vec![world.found("alpha", 0, "one:22")],
        });
        let mut fresh = test.request(1);
        fresh.wants[0].fresh = true;
        let first = test.acquire(fresh.clone()).unwrap();
        let first_id = id(&first);
        // Nothing was done on it: it is as it was.
        test.end(first, LeaseEnd::Unused);
        let second = test.acquire(fresh.clone()).unwrap();
        assert_eq!(id(&second), first_id);
        test.end(second, LeaseEnd::Done);
        let used = test.acquire(test.request(1)).unwrap();
        assert!(!used.machines()[0].is_unused() && id(&used) == first_id);
        test.end(used, LeaseEnd::Done);
        let third = test.acquire(fresh).unwrap();
        assert!(third.machines()[0].is_unused() && id(&third) != first_id);
        test.end(third, LeaseEnd::WantFresh);
        let fourth = test.acquire(test.request(1)).unwrap();
        assert!(fourth.machines()[0].is_unused(), "recycled: made {made}");
    }
}

#[test]
fn a_request_that_is_given_up_leases_nothing_and_its_deploy_goes_on() {
    let test = Test::new(|world| {
        let mut wanted = world.wanted("alpha", 0, 22);
        wanted.parameters = serde_json::json!({ "pause": 200 });
        vec![wanted]
    });
    test.give_up(test.request(1), 50);
    let lease = test.acquire(Request {
        // Only what the first request began can be leased.
        if_missing: IfMissing::Deploy,
        ..test.request(1)
    });
    let lease = lease.unwrap();
    assert_eq!(test.world.machines(), [id(&lease)]);
    test.give_up(test.request(1), 50);
    assert_eq!(test.tickets(), 0, "its place in the queue is free");
    test.end(lease, LeaseEnd::Done);
    test.acquire(test.request(1)).unwrap();
}

#[test]
fn a_lease_that_is_dropped_is_that_of_a_dead_holder() {
    let test = Test::made();
    let lease = test.acquire(test.request(1)).unwrap();
    let first = id(&lease);
    drop(lease);
    let second = test.acquire(test.request(1)).unwrap();
    assert_ne!(id(&second), first);
    assert_eq!(test.world.machines(), [id(&second)]);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let test = Test::made();
    let refused = |request| {
        let error = test.acquire(request).err().unwrap();
        (error.kind(), error.chain())
    };
    let (kind, why) = refused(Request {
        if_missing: IfMissing::Refuse,
        ..test.request(1)
    });
    assert_eq!((kind, &*why), (ErrorKind::Infra, "`alpha` is not ready"));
    let mut cores = test.request(1);
    cores.wants[0].needs = Needs::from([("cores".to_owned(), ">= 9999".to_owned())]);
    let (kind, why) = refused(cores);
    assert_eq!(kind, ErrorKind::Unfit, "{why}");
    assert_eq!(refused(Request::one("beta")).0, ErrorKind::Unfit);
    test.provisioner.close();
    let (_, why) = refused(test.request(1));
    assert_eq!(why, "the run was interrupted");
    // What is there is leased all the same.
    test.acquire(Request {
        if_missing: IfMissing::Refuse,
        ..test.request(1)
    })
    .unwrap();
}

#[test]
fn instances_that_are_one_machine_are_not_waited_for() {
    let test = Test::new(|world| {
        let hosts = [0, 1].map(|index| world.found("alpha", index, "one:22"));
        hosts.into()
    });
    let error = test.acquire(test.request(2)).err().unwrap();
    assert_eq!(error.chain(), "`alpha` never had 2 instances ready at once");
    test.acquire(test.request(1)).unwrap();
}

#[test]
fn surplus_is_what_no_case_needs_and_no_lease_has() {
    let test = Test::new(|world| [0, 1].map(|index| world.wanted("alpha", index, 22)).into());
    let lease = test.acquire(test.request(2)).unwrap();
    // The pool may give an instance away before its set hears that it is ready.
    for index in 0..2 {
        let ready = test.provisioner.ready(&test.set, index);
        test.runtime.block_on(ready).unwrap();
    }
    let surplus = || test.provisioner.take_surplus(&test.set);
    let need = cargo_target_test::provision::Need {
        count: 1,
        spends: false,
    };
    test.set.expect(("/b", "x"), need);
    assert!(surplus().is_empty(), "both are leased");
    test.end(lease, LeaseEnd::Done);
    {
        let _inside = test.runtime.enter();
        assert_eq!(surplus().len(), 1);
        let again = surplus();
        assert_eq!(again.len(), 1, "put back when it was dropped");
        for surplus in again {
            test.runtime.block_on(surplus.release());
        }
    }
    assert_eq!(test.world.machines().len(), 1);
    let report = test.runtime.block_on(test.provisioner.finish(false));
    // The one that was deleted early comes in the order in which its deletion ended.
    let mut deleted = report.unwrap().deleted;
    deleted.sort();
    assert_eq!(deleted, ["alpha-0", "alpha-1"]);
    test.world.assert_empty();
}
