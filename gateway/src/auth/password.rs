//! Names and passwords, compared in a time that tells nothing about them.

use crate::secret::Secret;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};

/// Who may, by name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Whether one of `users` has this name and password. All are looked at, whichever fits.
pub(super) fn is_one_of(users: &[User], name: &str, password: &Secret) -> bool {
    let mut found = false;
    for user in users {
        let is_name = is_equal(&user.name, name);
        let is_password = is_equal(user.password.reveal(), password.reveal());
        found |= is_name & is_password;
    }
    found
}

/// Compares digests, which are of equal length whatever the texts are.
fn is_equal(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|text| digest::digest(&digest::SHA256, text.as_bytes()));
    verify_slices_are_equal(one.as_ref(), other.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_with_its_own_password() {
        let user =
            |name: &str, password: &str| User { name: name.into(), password: password.into() };
        let users = [user("one", "first"), user("two", "second")];
        for (name, password, expected) in [
            ("one", "first", true),
            ("two", "second", true),
            ("one", "second", false),
            ("one", "firs", false),
            ("one", "", false),
            ("", "", false),
            ("three", "first", false),
        ] {
            assert_eq!(is_one_of(&users, name, &password.into()), expected, "{name} {password}");
        }
        assert!(!is_one_of(&[], "one", &"first".into()));
    }
}
