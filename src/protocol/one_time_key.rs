//! What proves the knowledge of a password without telling it.

use crate::model::{Secret, UserName};
use md5::{Digest, Md5};
use std::fmt::Write;

/// A fixed part of every hash, whatever the server. Source: protocol notes, section 3.3.
const REALM: &str = "voximplant.com";

/// Returns what stands for a password: `MD5(user:voximplant.com:password)`, in lower-case hexadecimal digits.
///
/// `user` is the part of the name before the `@`. It is as good as the password for whoever holds it.
///
/// Source: protocol notes, section 3.3.
pub fn password_hash(user: &UserName, password: &Secret) -> Secret {
    let name = user.as_str().split('@').next().unwrap_or_default();
    md5_of(&format!("{name}:{REALM}:{}", password.reveal()))
}

/// Returns what answers a one-time key: `MD5(key|password hash)`, in lower-case hexadecimal digits.
///
/// Source: protocol notes, section 3.3.
pub fn one_time_key_answer(key: &Secret, password_hash: &Secret) -> Secret {
    md5_of(&format!("{}|{}", key.reveal(), password_hash.reveal()))
}

fn md5_of(text: &str) -> Secret {
    let mut digits = String::with_capacity(32);
    for byte in Md5::digest(text) {
        // Writing to a string cannot fail.
        write!(digits, "{byte:02x}").ok();
    }
    Secret::new(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the worked example of the protocol notes, section 3.3.
    #[test]
    fn the_answer_is_the_one_that_the_vendors_client_gives() {
        let hash = password_hash(&UserName::new("bob@chat.acme"), &Secret::new("bob-pass"));
        let answer = one_time_key_answer(&Secret::new("c2a39028f90bf8bb4d5995e80fe6dd71"), &hash);
        assert_eq!(answer.reveal(), "85c768493e52a8a75af9d3ee45ebb6cb");
    }
}
