//! `user`: the accounts of a server, whether it runs or not.

use super::password;
use crate::args::UserAction;
use crate::failure::Failure;
use crate::render::{Out, harmless};
use backscroll::model::{Secret, UserName};
use backscroll_server::Accounts;
use serde_json::json;
use std::path::Path;

/// Opens the accounts of a server that exists; a mistyped folder must not become one.
fn accounts_of(data: &Path) -> Result<Accounts, Failure> {
    if !data.exists() {
        return Err(Failure::environment(format!("there is no folder {}", data.display()))
            .hint("user add makes it; so does serve"));
    }
    Ok(Accounts::open(data)?)
}

pub(crate) fn run(out: Out, action: UserAction) -> Result<(), Failure> {
    match action {
        UserAction::Add { data, name, display_name } => {
            let name = UserName::new(&name);
            let password = Secret::new(password(&format!("Password of {name}: "))?);
            let id = Accounts::open(&data)?.add(&name, &display_name, &password)?;
            out.object(json!({"type": "user", "user": name.as_str(), "user_id": id, "display_name": display_name}))?;
            out.say(format!("{name} is user {id}"))
        }
        UserAction::Passwd { data, name } => {
            let name = UserName::new(&name);
            let accounts = accounts_of(&data)?;
            let password = Secret::new(password(&format!("New password of {name}: "))?);
            accounts.set_password(&name, &password)?;
            out.object(json!({"type": "user", "user": name.as_str()}))?;
            out.say(format!("{name} has a new password; older sessions have ended"))
        }
        UserAction::List { data } => {
            let accounts = accounts_of(&data)?.list()?;
            let rows = accounts.into_iter().map(|account| {
                let state = if account.frozen { "frozen" } else { "" };
                let (id, name) = (account.id.to_string(), account.name.to_string());
                let cells = vec![id, name, harmless(&account.display_name), state.to_owned()];
                let object = json!({
                    "type": "user", "user": account.name.as_str(), "user_id": account.id,
                    "display_name": account.display_name, "frozen": account.frozen,
                });
                (cells, object)
            });
            out.rows(&["id", "name", "display name", "state"], rows.collect(), "no accounts")
        }
        UserAction::Freeze { data, name } => set_frozen(out, &data, &name, true),
        UserAction::Unfreeze { data, name } => set_frozen(out, &data, &name, false),
        UserAction::Remove { data, name } => {
            let name = UserName::new(&name);
            accounts_of(&data)?.remove(&name)?;
            out.object(json!({"type": "user", "user": name.as_str(), "removed": true}))?;
            out.say(format!("{name} is removed"))
        }
    }
}

fn set_frozen(out: Out, data: &Path, name: &str, frozen: bool) -> Result<(), Failure> {
    let name = UserName::new(name);
    accounts_of(data)?.set_frozen(&name, frozen)?;
    out.object(json!({"type": "user", "user": name.as_str(), "frozen": frozen}))?;
    out.say(if frozen { format!("{name} can no longer log in") } else { format!("{name} can log in again") })
}
