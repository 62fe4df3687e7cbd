//! Many clients at once.

use backscroll::model::{Secret, ServerAddress, Session, Tokens, Uptime, UserName};
use backscroll::sync::{Core, Input, Output, SavedState, Settings};
use std::time::Duration;

/// C-6: a thousand clients that lose their links in the same instant come back spread out, and the longer the server
/// stays away the fewer they become.
#[test]
fn a_thousand_clients_cut_at_once_do_not_storm() {
    const CLIENTS: u64 = 1_000;
    let mut dials_in_second = vec![0_u32; 600];
    for client in 0..CLIENTS {
        let (access, refresh) = (Secret::new("access"), Secret::new("refresh"));
        let session = Session {
            user: UserName::new("user@chat.acme"),
            user_id: None,
            server: ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None },
            tokens: Some(Tokens { access, access_expires_s: 172_800, refresh, refresh_expires_s: 2_592_000 }),
            refused: None,
            device: None,
        };
        let saved = SavedState { session: Some(session), ..SavedState::default() };
        let mut core = Core::restore(saved, Settings::default(), client, Uptime::default());
        // The server is away: every dial is refused at once.
        let mut inputs = vec![Input::DeadlinePassed];
        while let Some(now) = core.deadline().filter(|now| now.as_duration() < Duration::from_secs(600)) {
            let outputs = core.handle(now, inputs.pop().unwrap_or(Input::DeadlinePassed));
            for output in outputs {
                if let Output::Dial(link, _) = output {
                    dials_in_second[usize::try_from(now.as_duration().as_secs()).expect("small")] += 1;
                    let after = core.handle(now, Input::Disconnected(link));
                    assert!(!after.iter().any(|output| matches!(output, Output::Dial(..))), "no dial without a delay");
                }
            }
        }
    }
    let in_minute = |minute: usize| dials_in_second[60 * minute..60 * (minute + 1)].iter().sum::<u32>();
    let busiest_later = dials_in_second[60..].iter().max().expect("seconds");
    assert!(*busiest_later <= 120, "after a minute {busiest_later} dials fell in one second");
    assert!(in_minute(9) <= 3 * 1_000, "in the tenth minute there were {}", in_minute(9));
}
