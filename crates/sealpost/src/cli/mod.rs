//! The command line: every command on one page, and what each ends with.
//!
//! A command's `run` gives nothing or a [`Failure`]: one sentence for the screen, one code for scripts. Commands of
//! the operator (`tenant`, `client`, `key`, `erase`, `backup`, `doctor`, `bootstrap`, `audit`) work on the data folder, through the admin
//! socket if a server holds it; commands of publishers and receivers call the API.

mod admin;
mod audit;
mod backup;
mod bootstrap;
pub mod client;
mod clients;
mod completions;
mod confirm;
mod copy;
pub mod delivery;
pub mod demo;
mod doctor;
mod erase;
pub mod event;
mod key;
pub mod listen;
mod openapi;
pub mod output;
pub mod portal;
pub mod publish;
mod restore;
mod serve;
mod tenant;
pub mod trigger;
pub mod verify;
pub mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, ConfigError, Flags, Name};
use client::Failure;

#[derive(Debug, Parser)]
#[command(
    name = "sealpost",
    version,
    about = "Signed, durable webhooks for verifiable-credential platforms",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found, 4 refused, 5 server not reached.",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See all of it work, offline, in a few seconds
    Demo(demo::DemoArgs),
    /// Run the server
    Serve(Box<serve::ServeArgs>),
    Publish(publish::PublishArgs),
    Trigger(trigger::TriggerArgs),
    /// Receive webhooks on this machine, verify and show them
    Listen(listen::ListenArgs),
    /// Register and look after webhooks
    Webhook(webhook::WebhookArgs),
    /// Look at events
    Event(event::EventArgs),
    /// Look at deliveries, repeat and cancel them
    Delivery(delivery::DeliveryArgs),
    /// Let receivers look at their own webhooks
    Portal(portal::PortalArgs),
    /// Verify a received request offline
    Verify(verify::VerifyArgs),
    /// Create, list, show and delete tenants
    Tenant(tenant::TenantArgs),
    /// Create, list and delete API keys
    Client(clients::ClientArgs),
    /// List and rotate a tenant's signing keys
    Key(key::KeyArgs),
    /// Destroy stored payloads
    Erase(erase::EraseArgs),
    /// Copy the store while it serves
    Backup(backup::BackupArgs),
    /// Bring a backup back
    Restore(restore::RestoreArgs),
    /// Look for what is wrong or will be
    Doctor(doctor::DoctorArgs),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Move an installation to PostgreSQL
    Copy(copy::CopyArgs),
    /// Show who changed or read what
    Audit(audit::AuditArgs),
    /// Make the first operator
    Bootstrap(bootstrap::BootstrapArgs),
}

/// Which data folder a command of the operator works on.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store")]
struct StoreArgs {
    /// The configuration file [default: sealpost.toml if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The store (SEALPOST_STORE) [default: sqlite:./sealpost-data/sealpost.db]
    #[arg(long, value_name = "URL", global = true)]
    store: Option<String>,
    /// The master key (SEALPOST_MASTER_KEY_FILE) [default: master.key in the data folder]
    #[arg(long, value_name = "FILE", global = true)]
    master_key_file: Option<String>,
}

impl StoreArgs {
    fn flags(&self) -> Flags {
        let mut flags = Flags { config_file: self.config.clone(), ..Flags::default() };
        flags.set(Name::Store, self.store.clone());
        flags.set(Name::MasterKeyFile, self.master_key_file.clone());
        flags
    }

    fn load(&self) -> Result<Config, Failure> {
        config::load(&self.flags()).map_err(wrong_settings)
    }
}

fn wrong_settings(errors: Vec<ConfigError>) -> Failure {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Failure::usage(sentences.join("\n"))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::io("the runtime could not be started", &error))),
    };
    ended(runtime.block_on(run(command)))
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Publish(args) => publish::run(args).await,
        Command::Trigger(args) => trigger::run(args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Webhook(args) => webhook::run(args).await,
        Command::Event(args) => event::run(args).await,
        Command::Delivery(args) => delivery::run(args).await,
        Command::Portal(args) => portal::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Tenant(args) => tenant::run(args).await,
        Command::Client(args) => clients::run(args).await,
        Command::Key(args) => key::run(args).await,
        Command::Erase(args) => erase::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Openapi => openapi::run(),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
        Command::Copy(args) => copy::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Bootstrap(args) => bootstrap::run(args).await,
    }
}

fn ended(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A command that has said all it had to say fails without a sentence.
            if !failure.message.is_empty() {
                output::note(format!("sealpost: {failure}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_has_its_name() {
        let command = Cli::command();
        let names: Vec<String> = command
            .get_subcommands()
            .flat_map(|group| {
                let inner: Vec<String> = group
                    .get_subcommands()
                    .map(|leaf| format!("{} {}", group.get_name(), leaf.get_name()))
                    .collect();
                if inner.is_empty() { vec![group.get_name().to_owned()] } else { inner }
            })
            .collect();
        for name in [
            "demo",
            "serve",
            "publish",
            "trigger",
            "listen",
            "webhook create",
            "webhook list",
            "webhook get",
            "webhook update",
            "webhook delete",
            "event list",
            "event get",
            "delivery list",
            "delivery get",
            "delivery redeliver",
            "delivery cancel",
            "tenant create",
            "tenant list",
            "tenant get",
            "tenant delete",
            "client create",
            "client list",
            "client delete",
            "key list",
            "key rotate",
            "verify",
            "erase",
            "backup",
            "restore",
            "copy",
            "audit",
            "doctor",
            "bootstrap operator",
            "openapi",
            "completions",
        ] {
            assert!(names.iter().any(|known| known == name), "{name} is missing among {names:?}");
        }
    }
}
