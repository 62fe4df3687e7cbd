//! What can be typed.

use backscroll::model::{ClientToken, ConversationId, Permissions};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Chats offline and on, runs a server, and looks into a store.
#[derive(Debug, Parser)]
#[command(name = "backscroll", version, about, max_term_width = 100)]
pub(crate) struct Typed {
    /// The database file of a device
    #[arg(long, global = true, env = "BACKSCROLL_STORE", value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story on a loop-back server with real TLS
    Demo {
        /// The folder to leave the stores in; must not exist yet
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Send numbered messages and print each as it is accepted: the demo kills this one
    #[command(hide = true)]
    WriteMany { conversation: String, prefix: String, count: u32 },
    /// Run a server until SIGINT or SIGTERM
    Serve(Serve),
    /// Look after the accounts of a server
    User {
        #[command(subcommand)]
        action: UserAction,
    },
    /// Make the stored session; the password or token comes from standard input or a prompt
    Login {
        /// As in wss://127.0.0.1:8443/platform; may be left out after the first login
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        /// As in alice@chat.acme
        #[arg(long, value_name = "NAME")]
        user: String,
        /// A certificate to trust besides the public ones, in PEM
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        #[command(flatten)]
        way: LoginWay,
    },
    /// End the stored session; history and outbox stay
    Logout,
    /// Catch up, and send what waits
    Sync {
        /// Give up after so long
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
        /// Go on and print what happens until SIGINT
        #[arg(long)]
        follow: bool,
    },
    /// Make a conversation
    Create {
        #[arg(long, default_value = "")]
        title: String,
        /// Of exactly two, one for each pair
        #[arg(long, conflicts_with_all = ["public", "uber"])]
        direct: bool,
        /// Anyone may join
        #[arg(long)]
        public: bool,
        /// Everybody sees the time they were in
        #[arg(long)]
        uber: bool,
        /// Names or IM user ids of the others
        #[arg(value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Send a message
    Send {
        conversation: String,
        text: String,
        /// A JSON array of objects
        #[arg(long, value_name = "JSON")]
        payload: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Change the text of a message
    Edit {
        message: String,
        text: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove a message, or a whole conversation for everybody
    Remove {
        #[arg(required_unless_present = "conversation")]
        message: Option<String>,
        #[arg(long, value_name = "CONVERSATION", conflicts_with = "message")]
        conversation: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Join a public conversation
    Join {
        /// Its uuid
        conversation: ConversationId,
        #[command(flatten)]
        wait: Wait,
    },
    /// Leave a conversation; what is held of it stays readable
    Leave {
        conversation: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Set the own read mark; without SEQUENCE to the newest event
    Read {
        conversation: String,
        sequence: Option<u32>,
        #[command(flatten)]
        wait: Wait,
    },
    /// List who takes part, add or remove somebody, or change rights
    Participants {
        conversation: String,
        #[command(subcommand)]
        action: Option<ParticipantsAction>,
    },
    /// List conversations, the latest first
    Conversations {
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Read messages, oldest first, with gaps where something is missing
    Messages {
        conversation: String,
        /// Around this sequence
        #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["before", "after"])]
        around: Option<u32>,
        #[arg(long, value_name = "SEQUENCE", conflicts_with = "after")]
        before: Option<u32>,
        #[arg(long, value_name = "SEQUENCE")]
        after: Option<u32>,
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// List what is still to be fetched; exit code 1 if there is anything
    Gaps {
        conversation: Option<String>,
        /// List positions that hold nothing, with the reason
        #[arg(long)]
        holes: bool,
    },
    /// List what is on its way
    Outbox,
    /// Try again what was refused
    Retry {
        /// As outbox lists it
        token: ClientToken,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take back what has not left, or was refused
    Cancel {
        /// As outbox lists it
        token: ClientToken,
    },
    /// Show what the file holds in numbers, and of the latest conversations how much is wanted and held
    Inspect {
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Check whether the file holds what it claims; exit code 1 if not
    Verify {
        #[command(flatten)]
        online: Online,
    },
    /// Put right what can be put right, from the events held and from the server; exit code 1 if something is left
    Repair {
        #[command(flatten)]
        online: Online,
    },
}

/// How much of the file is compared with the server.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Online {
    /// Compare the file with the server as well: the list of conversations, their heads and descriptions
    #[arg(long)]
    pub(crate) online: bool,
    /// And about so many events of each conversation
    #[arg(long, value_name = "EVENTS", requires = "online", conflicts_with = "full")]
    pub(crate) sample: Option<u32>,
    /// Which events the sample takes; the same number takes the same ones
    #[arg(long, value_name = "NUMBER", requires = "sample", default_value_t = 0)]
    pub(crate) seed: u64,
    /// And all events that are held
    #[arg(long, requires = "online")]
    pub(crate) full: bool,
}

/// How long to wait for the server's answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Wait {
    /// Wait for the server's answer, 30 seconds if not said otherwise; exit code 1 without it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30")]
    pub(crate) wait: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// The folder that holds everything the server keeps
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A certificate chain in PEM; without it the server makes its own
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "plain")]
    pub(crate) tls_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// No TLS; on loop-back addresses only
    #[arg(long)]
    pub(crate) plain: bool,
    /// Keep no hash of passwords that one-time keys could be answered with
    #[arg(long)]
    pub(crate) no_one_time_keys: bool,
    /// How long an access token logs in
    #[arg(long, value_name = "SECONDS", default_value_t = 172_800)]
    pub(crate) access_token_life: u64,
    /// How long a refresh token gives a new pair
    #[arg(long, value_name = "SECONDS", default_value_t = 2_592_000)]
    pub(crate) refresh_token_life: u64,
    /// Requests that one connection may make at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) burst: u32,
    /// One more request of a connection each time this has passed
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 100)]
    pub(crate) interval: u64,
    /// Requests a minute of one connection; any number if not given
    #[arg(long, value_name = "N")]
    pub(crate) per_minute: Option<u32>,
    /// Requests that all connections of one user may make at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) user_burst: u32,
    /// One more request of a user each time this has passed
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 25)]
    pub(crate) user_interval: u64,
    /// Requests a minute of one user; any number if not given
    #[arg(long, value_name = "N")]
    pub(crate) user_per_minute: Option<u32>,
    /// Accounts to make: a JSON array of {"name","password","display_name"}; existing ones are left as they are
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// Make an account; the password comes from standard input or a prompt
    Add {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// As in alice@chat.acme
        name: String,
        #[arg(long, default_value = "")]
        display_name: String,
    },
    /// Replace a password
    Passwd {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        name: String,
    },
    /// List the accounts
    List {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Keep an account from logging in; nothing of it is lost
    Freeze {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        name: String,
    },
    /// Let a frozen account log in again
    Unfreeze {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        name: String,
    },
    /// Remove an account; what it wrote stays
    Remove {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParticipantsAction {
    /// Add users, as writers if not said otherwise
    Add {
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        wait: Wait,
    },
    /// Replace the rights of users
    Edit {
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        rights: Rights,
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove users
    Remove {
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
}

/// What participants may do.
#[derive(Debug, Args)]
pub(crate) struct Rights {
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RIGHTS", default_value = "write,edit,remove")]
    rights: Vec<Right>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Right {
    None,
    Write,
    Edit,
    Remove,
    Manage,
    EditAll,
    RemoveAll,
    Owner,
}

impl From<Rights> for Permissions {
    fn from(typed: Rights) -> Self {
        typed.rights.into_iter().fold(Self::NONE, |rights, given| match given {
            Right::None => rights,
            Right::Write => rights.with_write(true),
            Right::Edit => rights.with_edit(true),
            Right::Remove => rights.with_remove(true),
            Right::Manage => rights.with_manage_participants(true),
            Right::EditAll => rights.with_edit_all(true),
            Right::RemoveAll => rights.with_remove_all(true),
            // An owner has every right, and in no other form do all clients show one.
            Right::Owner => Self::OWNER,
        })
    }
}

/// What is shown in place of the password.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct LoginWay {
    /// Prove the password with a one-time key: it does not leave this machine
    #[arg(long)]
    pub(crate) one_time_key: bool,
    /// Print a one-time key, and read the hash that answers it
    #[arg(long)]
    pub(crate) one_time_hash: bool,
    /// Read an access token
    #[arg(long)]
    pub(crate) access_token: bool,
    /// Read a refresh token; it is spent
    #[arg(long)]
    pub(crate) refresh_token: bool,
}
