//! What each command does: turn arguments into a request, have it carried out, say what came of it.

mod answers;
mod demo;
pub(crate) mod derive;
mod dock;
pub(crate) mod holds;
pub(crate) mod keep;
mod log_witness;
mod migrate;
pub(crate) mod people;
mod recover;
mod serve;
mod slip;
pub(crate) mod store;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{self, Cli, Command};
use crate::config::{self, Config, Override};
use crate::control::{self, Failure, Holder, Request};
use crate::terminal;

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Verify => {
            return Err(Failure::new("usage", "options before `verify` are not known to it")
                .advice("write: exhibit verify PATH --policy FILE"));
        }
        Command::Demo(args) => return block_on(demo::run(args, cli.json)),
        Command::Ledger(cli::Ledger::Witness(args)) => {
            return block_on(log_witness::run(args, cli.json));
        }
        Command::Dock(cli::Dock::Push(args)) => return block_on(dock::push(args, cli.json)),
        Command::Serve(args) => {
            let flags =
                args.listen.iter().map(|l| ("server.listen", l.clone())).collect::<Vec<_>>();
            let data = data_folder(&cli)?;
            let config = configuration(&cli, &data, &flags)?;
            return block_on(serve::run(&data, config));
        }
        Command::Work => {
            let data = data_folder(&cli)?;
            let config = configuration(&cli, &data, &[])?;
            return block_on(serve::work(&data, config));
        }
        Command::Migrate => {
            quiet_logging();
            let data = data_folder(&cli)?;
            let config = configuration(&cli, &data, &[])?;
            return block_on(migrate::run(&config, cli.json));
        }
        Command::Store(command) => {
            quiet_logging();
            return block_on(store::run(command, cli.json));
        }
        Command::Keep(command) if command.is_about_this_program() => {
            return Ok(keep::about_this_program(command));
        }
        _ => {}
    }
    let data = data_folder(&cli)?;
    if !may_be_new(&cli.command) && !is_begun(&data) {
        return Err(no_data_folder(&data));
    }
    let config = configuration(&cli, &data, &[])?;
    if let Command::Ledger(cli::Ledger::Recover { size, reason }) = &cli.command {
        quiet_logging();
        return block_on(recover::run(&data, &config, *size, reason, cli.json));
    }
    if let Command::Config(command) = &cli.command {
        return Ok(show_configuration(command, &config, cli.json));
    }
    quiet_logging();
    if let Command::Keys(command @ (cli::Keys::New { .. } | cli::Keys::Recover { .. })) =
        &cli.command
    {
        return keep::keys(command, &data, &config, cli.json);
    }
    if let Command::Keys(cli::Keys::Rotate(args)) = &cli.command {
        return block_on(keep::rotate(args, &data, &config, cli.json));
    }
    if let Command::Keys(cli::Keys::Protect) = &cli.command {
        return block_on(keep::protect(&data, &config, cli.json));
    }
    if let Command::Keep(command) = &cli.command {
        return block_on(keep::run(command, &data, &config, cli.json));
    }
    block_on(ask(&cli, &data, &config))
}

/// Commands log warnings only: their answer is what they print.
fn quiet_logging() {
    // What it tells of each place without credentials is in the answer.
    let filter = "warn,aws_config=error";
    let config = config::Log { filter: filter.into(), format: "text".into() };
    crate::logging::start(&config).expect("that is a valid filter");
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Failure::new("runtime", e.to_string()))?.block_on(work)
}

fn data_folder(cli: &Cli) -> Result<PathBuf, Failure> {
    let data = cli.data.clone().ok_or_else(|| {
        Failure::new("usage", "no data folder given")
            .advice("add --data DIR, or set EXHIBIT_DATA; for a first look try: exhibit demo")
    })?;
    std::path::absolute(&data).map_err(|e| Failure::new("data-folder", e.to_string()))
}

/// Whether somebody has meant this folder: it holds keys, or settings for what is to come.
fn is_begun(data: &Path) -> bool {
    data.join("keys").is_dir() || data.join(config::FILE_NAME).is_file()
}

/// Whether a command begins a data folder, or says better itself what is wrong with one. For the others a folder that is not
/// there is a mistyped name, and must not become a second ledger.
fn may_be_new(command: &Command) -> bool {
    match command {
        Command::Ingest(_)
        | Command::Device(cli::Device::Enrol { .. })
        | Command::Keys(cli::Keys::New { .. } | cli::Keys::Recover { .. })
        | Command::Config(_) => true,
        Command::Keep(command) => command.needs_no_whole_folder(),
        _ => false,
    }
}

/// The refusal, with the way to a folder.
fn no_data_folder(data: &Path) -> Failure {
    let data = data.display();
    Failure::new("data-folder", format!("no data folder at {data}")).advice(format!(
        "check --data and EXHIBIT_DATA; a new one is made by: exhibit serve --data {data}"
    ))
}

fn configuration(cli: &Cli, data: &Path, flags: &[Override]) -> Result<Config, Failure> {
    let file = cli.config.clone().unwrap_or_else(|| data.join(config::FILE_NAME));
    Config::load(&file, cli.config.is_some(), environment(), flags).map_err(|e| {
        Failure::new("configuration", e.to_string())
            .advice("exhibit config explain lists every setting")
    })
}

fn show_configuration(command: &cli::Config, config: &Config, as_json: bool) -> ExitCode {
    let values = serde_json::to_value(config).expect("the configuration is plain data");
    match command {
        _ if as_json => terminal::answer(&values),
        cli::Config::Check => terminal::line("The configuration can be used."),
        cli::Config::Explain => {
            for (key, meaning) in config::KEYS {
                let value = &values[key.split('.').next().unwrap_or_default()]
                    [key.split('.').next_back().unwrap_or_default()];
                terminal::line(&format!("{key} = {value}\n    {meaning}"));
            }
        }
    }
    ExitCode::SUCCESS
}

/// The commands that whoever holds the data folder carries out.
async fn ask(cli: &Cli, data: &Path, config: &Config) -> Result<ExitCode, Failure> {
    if let Command::Ingest(args) = &cli.command {
        return ingest(args, data, config, cli.json).await;
    }
    let answer = one(data, config, request(&cli.command)?, cli.json).await?;
    if cli.json {
        terminal::answer(&answers::as_json(&cli.command, &answer));
    } else {
        answers::print(&cli.command, &answer);
    }
    Ok(answers::exit_code(&cli.command, &answer))
}

async fn one(
    data: &Path,
    config: &Config,
    request: Request,
    quiet: bool,
) -> Result<Value, Failure> {
    let bar = terminal::Bar::new(quiet);
    control::perform(data, config, request, &mut |step| bar.show(&step)).await
}

/// Every file is tried, whatever became of the one before.
async fn ingest(
    args: &cli::Ingest,
    data: &Path,
    config: &Config,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let mut taken = Vec::new();
    let mut failed = Vec::new();
    let holder = Holder::find(data, config).await?;
    for path in &args.paths {
        for found in tree::files(path).unwrap_or_else(|failure| vec![Err(failure)]) {
            let path = found.as_ref().map_or(path.clone(), |found| found.path.clone());
            match ingest_one(found, args.restricted, &holder, as_json).await {
                Ok(answer) => {
                    if !as_json {
                        answers::print_ingested(&path, &answer);
                    }
                    taken.push(answer);
                }
                Err(failure) => {
                    terminal::failure(&failure, false);
                    failed.push(json!({"path": path.display().to_string(), "code": failure.code, "message": failure.message}));
                }
            }
        }
    }
    holder.close().await;
    if as_json {
        // One path is the usual case, and its answer stands alone.
        let one_file = args.paths.len() == 1 && !args.paths[0].is_dir();
        match (&taken[..], &failed[..], one_file) {
            ([only], [], true) => terminal::answer(only),
            _ => terminal::answer(&json!({"items": taken, "failed": failed})),
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ingest_one(
    found: Result<tree::Found, Failure>,
    restricted: bool,
    holder: &Holder,
    quiet: bool,
) -> Result<Value, Failure> {
    let tree::Found { path, name } = found?;
    let request = Request::Ingest { path: absolute(&path)?, name, restricted };
    let bar = terminal::Bar::new(quiet);
    holder.perform(request, &mut |step| bar.show(&step)).await
}

fn request(command: &Command) -> Result<Request, Failure> {
    Ok(match command {
        Command::Show(args) => Request::Show { item: args.item.clone() },
        Command::Extract(args) => args.request()?,
        Command::Redact(args) => args.request()?,
        Command::Derive(args) => args.request(),
        Command::Cancel(args) => args.request(),
        Command::Reproduce(args) => {
            Request::Reproduce { item: args.item.clone(), kind: args.derivative.clone() }
        }
        Command::Search(args) => Request::Search {
            text: args.text.clone(),
            device: args.device.clone(),
            limit: args.limit,
            after: args.after.clone(),
        },
        Command::Bundle(cli::Bundle::Create(args)) => {
            Request::BundleCreate(control::BundleRequest {
                items: args.items.clone(),
                purpose: args.purpose.clone(),
                recipient: args.recipient.clone(),
                references: args.references.clone(),
                case_reference: args.case_reference.clone(),
                authorised_by: args.authorised_by.clone(),
                reason: args.reason.clone(),
                complete: args.complete,
                programs: args.programs,
                output: absolute(&args.output)?,
            })
        }
        Command::Ledger(cli::Ledger::Checkpoint | cli::Ledger::Slip) => Request::LedgerCheckpoint,
        Command::Ledger(cli::Ledger::Audit) => Request::LedgerAudit,
        Command::Ledger(cli::Ledger::Stamp) => Request::LedgerStamp,
        Command::Ledger(cli::Ledger::Export { output }) => {
            Request::LedgerExport { output: absolute(output)? }
        }
        Command::Ledger(cli::Ledger::Prove { index }) => Request::LedgerProve { index: *index },
        Command::Device(cli::Device::Enrol { name }) => Request::DeviceEnrol { name: name.clone() },
        Command::Device(cli::Device::List) => Request::DeviceList,
        Command::Device(cli::Device::Revoke { device }) => {
            Request::DeviceRevoke { device: device.clone() }
        }
        Command::Keys(cli::Keys::Publish { .. }) => Request::KeysPublish,
        Command::User(command) => Request::People(command.request()),
        Command::Case(command) => Request::People(command.request()),
        Command::Item(command) => Request::People(command.request()),
        Command::Hold(command) => Request::Keeping(command.request()),
        Command::Retention(command) => Request::Keeping(command.request()),
        Command::Demo(_)
        | Command::Serve(_)
        | Command::Work
        | Command::Migrate
        | Command::Dock(_)
        | Command::Ledger(cli::Ledger::Witness(_) | cli::Ledger::Recover { .. })
        | Command::Ingest(_)
        | Command::Verify
        | Command::Config(_)
        | Command::Keys(_)
        | Command::Keep(_)
        | Command::Store(_) => unreachable!("handled before the folder's holder is asked"),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::new("path", format!("{}: {e}", path.display())))
}

/// Variables whose name or value is not UTF-8 cannot be settings of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}
