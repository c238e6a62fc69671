use std::path::PathBuf;

use super::parse;

/// What stands in a token. Its flags have no variables: they are no settings.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct TokenArgs {
    /// Whose token it is.
    #[arg(long, value_parser = parse::present)]
    pub sub: String,

    /// For how long it is valid, in s, 1 to 315360000 (ten years).
    #[arg(long = "expires-in", default_value = "3600", value_parser = parse::range(1, 315_360_000), value_name = "S")]
    pub expires_in_s: u64,

    /// Symbols that it allows, and patterns with *, with commas between. Default: every one.
    #[arg(long, value_delimiter = ',')]
    pub allow_symbols: Option<Vec<String>>,

    /// Rooms that it allows, in the same form. Default: every one.
    #[arg(long, value_delimiter = ',')]
    pub allow_rooms: Option<Vec<String>>,

    /// What its user is to the application, with commas between.
    #[arg(long, value_delimiter = ',')]
    pub roles: Vec<String>,
}

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct KeyArgs {
    /// What it is called in the log.
    #[arg(long, value_parser = parse::present)]
    pub name: String,

    /// What it may be used for: publish, message or admin, with commas between.
    #[arg(long, value_delimiter = ',', required = true)]
    pub scopes: Vec<String>,
}

/// What is recorded, and where to.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct RecordArgs {
    /// The file, which must not exist.
    pub file: PathBuf,

    /// For how long, in s, 1 to 315360000. Default: until it is stopped.
    #[arg(long, value_parser = parse::range(1, 315_360_000), value_name = "S")]
    pub seconds: Option<u64>,
}
