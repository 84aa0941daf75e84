//! Logins by password and by keyboard-interactive prompt.

use cargo_target_test::secret::{Bound, Reference, Text};

use super::*;
use crate::support::User;

const PASSWORD: &str = "ge'heim \\ 7f3a91c4";

/// Returns the reach of a user, with a password from a file.
fn reach(farm: &Farm, user: &User, password: &str) -> SshReach {
    fs::write(farm.path().join("password"), format!("{password}\n")).unwrap();
    let reference = Text::Secret(Reference::File("password".into()));
    SshReach {
        user: Some(user.name().to_owned()),
        identity: None,
        password: Some(reference.bound("`password` of target `alpha`", farm.path())),
        ..farm.reach("alpha-0")
    }
}

fn ssh(reach: SshReach) -> Arc<dyn Transport> {
    connect::connect("alpha-0", &Reach::Ssh(reach))
}

/// The password is sent as such, and as the answer to a prompt.
#[test]
fn a_password_is_enough() {
    let Some(user) = User::new(PASSWORD) else {
        return;
    };
    for config in [
        "PasswordAuthentication yes",
        "UsePAM yes\nKbdInteractiveAuthentication yes",
    ] {
        let farm = Farm::with("alpha-0", config);
        let right = reach(&farm, &user, PASSWORD);
        let output = block_on(async { run(&*ssh(right), "id -un").await });
        assert_eq!(output.text().trim(), user.name(), "{config}");

        let wrong = reach(&farm, &user, "another one");
        let error = block_on(async { lost(&*ssh(wrong), "true").await });
        let message = error.chain();
        assert!(
            message.contains("the password from `password`"),
            "{message}"
        );
        assert!(!message.contains("another one"), "{message}");
    }
}

#[test]
fn a_named_key_is_tried_before_the_password() {
    let Some(user) = User::new(PASSWORD) else {
        return;
    };
    let farm = Farm::with("alpha-0", "PasswordAuthentication yes");
    let key = Some(farm.path().join("key"));
    super::login::keygen(&farm.path().join("key"), "");
    let right = SshReach {
        identity: key.clone(),
        ..reach(&farm, &user, PASSWORD)
    };
    let output = block_on(async { run(&*ssh(right), "id -un").await });
    assert_eq!(output.text().trim(), user.name());
    let wrong = SshReach {
        identity: key,
        ..reach(&farm, &user, "another one")
    };
    let message = block_on(async { lost(&*ssh(wrong), "true").await }).chain();
    let tried = ["/key`", "the password from"].map(|part| message.find(part));
    assert!(tried[0].is_some() && tried[0] < tried[1], "{message}");
}

#[test]
fn a_password_that_is_not_accepted_or_missing_is_named() {
    let farm = Farm::new("alpha-0");
    let mut reach = SshReach {
        identity: Some(farm.path().join("none")),
        password: Some(Bound::Plain(PASSWORD.to_owned())),
        ..farm.reach("alpha-0")
    };
    let message = block_on(async { lost(&*ssh(reach.clone()), "true").await }).chain();
    assert!(
        message.contains("no password from the playbook (not accepted by the server)"),
        "{message}"
    );

    let reference = Text::Secret(Reference::Env("TRANSPORT_TEST_NO_SUCH".into()));
    reach.password = Some(reference.bound("`password` of target `alpha`", farm.path()));
    let error = block_on(async { lost(&*ssh(reach), "true").await });
    let message = error.chain();
    let expected =
        "`password` of target `alpha`: environment variable `TRANSPORT_TEST_NO_SUCH` is not set";
    assert!(message.contains(expected), "{message}");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("export TRANSPORT_TEST_NO_SUCH="),
        "{error}"
    );
}
