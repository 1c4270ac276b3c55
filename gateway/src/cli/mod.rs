//! The command line: what a person types, and what is done before anything runs.
//!
//! [`run`] handles all commands but the serving itself, which is handed in, so that this room knows no protocol. It
//! gets its arguments, its environment and its outputs from the caller.

mod health;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, ConfigError, Loaded, Sources, reference};
use crate::convert;

/// A live media gateway: takes streams in by SRT and RTMP, and gives them out by SRT, RTMP and HTTP.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    ///
    /// Runs in the foreground until it gets SIGINT or SIGTERM, and logs to the standard error output. Without any
    /// configuration it listens on port 10080 (UDP) for SRT, 1935 for RTMP and 8080 for HTTP, on all addresses.
    Serve(Options),
    /// Say whether a configuration file is right, or what is wrong and where
    ///
    /// Looks at the file alone: neither the environment nor `--set` counts. Exits with 0 when all is well and with 1
    /// otherwise; nothing is started.
    Check {
        /// The TOML file
        file: PathBuf,
    },
    /// Print the configuration that is in force, and where each value comes from
    ///
    /// The output is a configuration file itself, except that secrets are shown as `***`.
    Config {
        #[command(flatten)]
        options: Options,
        /// Print a commented file with all keys and their defaults instead, to start one's own from
        #[arg(long, conflicts_with_all = ["config", "set"])]
        defaults: bool,
    },
    /// Say whether a gateway answers
    ///
    /// Asks for `/healthz`. Exits with 0 when the answer is 200 and with 1 otherwise: for health checks of containers
    /// and balancers that run a command.
    Health {
        /// Where its HTTP listener is
        #[arg(default_value = "http://127.0.0.1:8080", value_name = "URL")]
        url: String,
    },
    /// Make a configuration of one of SRS
    ///
    /// Prints the TOML file to the standard output, and to the standard error output what has no equivalent, with the
    /// line on which it stands and what to do instead. Exits with 1 when the file cannot be read as one of SRS.
    Convert {
        /// SRS's file, such as srs.conf
        file: PathBuf,
    },
}

/// What a configuration is made of, besides the defaults and the environment.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Read this TOML file; see `thalweg config --defaults` for what may stand in it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, over file and environment; may be given often
    ///
    /// The value is TOML, as in `--set srt.latency_ms=20` or `--set 'srt.listen=["127.0.0.1:10080"]'`. Texts that are
    /// no addresses need no quotes: `--set log.level=debug`.
    #[arg(short, long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

const EXAMPLES: &str = "\
Try it:
  thalweg serve
  ffmpeg -re -i clip.mp4 -c copy -f mpegts 'srt://127.0.0.1:10080?streamid=#!::r=live/cam,m=publish'
  ffmpeg -re -i clip.mp4 -c copy -f flv rtmp://127.0.0.1/live/cam2

Watch it:
  ffplay rtmp://127.0.0.1/live/cam
  ffplay http://127.0.0.1:8080/live/cam.flv          also .ts and .mp4
  ffplay 'srt://127.0.0.1:10080?streamid=#!::r=live/cam,m=request'

See what goes on:
  curl http://127.0.0.1:8080/api/v1/streams
  kill -QUIT $(pidof thalweg)                        prints what every coroutine is doing

Change something, from weak to strong: a file, the environment, the command line:
  thalweg config --defaults > gateway.toml
  thalweg check gateway.toml
  THALWEG_SRT_LATENCY_MS=20 thalweg serve --config gateway.toml --set log.level=debug

Come from SRS:
  thalweg convert srs.conf > gateway.toml            says what has no equivalent

All keys: docs/configuration.md";

/// [`run`] with what the process was given. `main` consists of this.
pub fn main(serve: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    // A name or value that is no text sets no key of ours.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let (mut output, mut errors) = (io::stdout(), io::stderr());
    let surroundings = Surroundings {
        environment: env::vars_os().filter_map(text).collect(),
        is_terminal: errors.is_terminal(),
        output: &mut output,
        errors: &mut errors,
    };
    run(env::args_os(), surroundings, serve)
}

/// Where a command gets its environment from and writes to.
pub struct Surroundings<'a> {
    /// The environment variables.
    pub environment: Vec<(String, String)>,
    /// For what was asked for.
    pub output: &'a mut dyn Write,
    /// For what is wrong.
    pub errors: &'a mut dyn Write,
    /// Whether errors may be coloured.
    pub is_terminal: bool,
}

impl fmt::Debug for Surroundings<'_> {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("is_terminal", &self.is_terminal)
            .finish_non_exhaustive()
    }
}

/// Carries out what `arguments` ask for, the program's name first. `serve` is called with the configuration when that
/// is to run the gateway.
///
/// It blocks the thread to read the file, so it does not belong on a coroutine.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: Surroundings<'_>,
    serve: impl FnOnce(Loaded) -> ExitCode,
) -> ExitCode {
    let Surroundings { environment, output, errors, is_terminal } = surroundings;
    let command = match Cli::try_parse_from(arguments) {
        Ok(Cli { command }) => command,
        Err(help) => return show_help(&help, output, errors, is_terminal),
    };
    let outcome = match command {
        Command::Serve(options) => options.load(environment).map(serve),
        Command::Check { file } => {
            let sources =
                read(&file).map(|text| Sources { file: Some(text), ..Sources::default() });
            let loaded = sources.and_then(|sources| Ok(config::load(sources)?));
            loaded.map(|_| done(writeln!(output, "{}: all is well", file.display())))
        }
        Command::Config { defaults: true, .. } => Ok(done(write!(output, "{}", reference::toml()))),
        Command::Config { options, .. } => options
            .load(environment)
            .map(|loaded| done(write!(output, "{}", reference::in_force(&loaded.in_force)))),
        Command::Health { url } => match health::ask(&url) {
            Ok(()) => Ok(done(writeln!(output, "{url} is well"))),
            Err(error) => Err(Failure::Ill { url, error }),
        },
        Command::Convert { file } => read(&file).and_then(|(name, text)| {
            let converted = convert::convert(&text)
                .map_err(|error| Failure::Unconvertible { name: name.clone(), error })?;
            for note in &converted.notes {
                let _told = writeln!(errors, "{name}:{}: {}", note.line, note.text);
            }
            Ok(done(write!(output, "{}", converted.toml)))
        }),
    };
    outcome.unwrap_or_else(|failure| {
        let text = match failure {
            Failure::Config(error) if is_terminal => error.styled(),
            Failure::Config(error) => error.to_string(),
            Failure::Read { path, error } => {
                format!("error: cannot read {}: {error}", path.display())
            }
            Failure::Ill { url, error } => format!("{url} is not well: {error}"),
            Failure::Unconvertible { name, error } => format!("error: {name}:{error}"),
        };
        // There is nobody else to tell of a failure to tell.
        let _told = writeln!(errors, "{text}");
        ExitCode::FAILURE
    })
}

/// The whole `--help`, as it is printed.
#[must_use]
pub fn help() -> String {
    Cli::command().render_long_help().to_string()
}

impl Options {
    fn load(self, environment: Vec<(String, String)>) -> Result<Loaded, Failure> {
        let file = self.config.as_deref().map(read).transpose()?;
        Ok(config::load(Sources { file, environment, arguments: self.set })?)
    }
}

/// Why a command did not get as far as to do something.
enum Failure {
    Config(ConfigError),
    Read { path: PathBuf, error: io::Error },
    Ill { url: String, error: io::Error },
    Unconvertible { name: String, error: convert::SyntaxError },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Name and content of a file.
fn read(path: &Path) -> Result<(String, String), Failure> {
    #[expect(clippy::disallowed_methods, reason = "no coroutine runs yet")]
    match fs::read_to_string(path) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => Err(Failure::Read { path: path.to_owned(), error }),
    }
}

fn show_help(
    help: &clap::Error,
    output: &mut dyn Write,
    errors: &mut dyn Write,
    is_terminal: bool,
) -> ExitCode {
    let text = help.render();
    let text = if is_terminal { text.ansi().to_string() } else { text.to_string() };
    if help.use_stderr() {
        let _told = write!(errors, "{text}");
        ExitCode::from(2)
    } else {
        done(write!(output, "{text}"))
    }
}

/// A reader that goes away early, such as `head`, is no failure of ours to report.
fn done(written: io::Result<()>) -> ExitCode {
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Ran {
        served: Option<Loaded>,
        code: ExitCode,
        output: String,
        errors: String,
    }

    fn thalweg(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let served = Cell::new(None);
        let surroundings = Surroundings {
            environment: environment.iter().map(|&(n, v)| (n.into(), v.into())).collect(),
            output: &mut output,
            errors: &mut errors,
            is_terminal: false,
        };
        let arguments = ["thalweg"].iter().chain(arguments).map(OsString::from);
        let code = run(arguments, surroundings, |loaded| {
            served.set(Some(loaded));
            ExitCode::SUCCESS
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { served: served.take(), code, output: text(output), errors: text(errors) }
    }

    #[test]
    fn serve_gets_what_arguments_and_environment_say() {
        let ran = thalweg(
            &["serve", "--set", "srt.latency_ms=20", "-s", "rtmp.listen=[]"],
            &[("THALWEG_SRT_LATENCY_MS", "30"), ("THALWEG_LOG_LEVEL", "warn"), ("HOME", "/")],
        );
        let config = ran.served.unwrap_or_else(|| panic!("{}", ran.errors)).config;
        assert_eq!(config.srt.latency.as_millis(), 20);
        assert_eq!(config.log.level, "warn");
        assert!(config.rtmp.listen.is_empty());
    }

    #[test]
    fn nothing_is_served_with_a_wrong_configuration() {
        let ran = thalweg(&["serve", "--set", "srt.latncy_ms=20"], &[]);
        assert!(ran.served.is_none());
        assert_eq!(ran.code, ExitCode::FAILURE);
        assert!(ran.errors.contains("did you mean `latency_ms`?"), "{}", ran.errors);
        let ran = thalweg(&["serve", "--config", "/nowhere/gw.toml"], &[]);
        assert_eq!(ran.code, ExitCode::FAILURE);
        assert!(ran.errors.contains("cannot read /nowhere/gw.toml"), "{}", ran.errors);
    }

    #[test]
    fn help_goes_to_the_output_and_a_wrong_use_to_the_errors() {
        for arguments in [&["--help"][..], &["serve", "--help"], &["help", "check"], &["--version"]]
        {
            let ran = thalweg(arguments, &[]);
            assert_eq!((ran.code, &*ran.errors), (ExitCode::SUCCESS, ""), "{arguments:?}");
            assert!(!ran.output.is_empty());
        }
        for arguments in [&[][..], &["srve"], &["check"], &["config", "--defaults", "--set", "a=b"]]
        {
            let ran = thalweg(arguments, &[]);
            assert_eq!((ran.code, &*ran.output), (ExitCode::from(2), ""), "{arguments:?}");
            assert!(!ran.errors.is_empty());
        }
    }

    #[test]
    fn the_help_tells_what_to_type() {
        let help = help();
        for part in
            ["serve", "check", "config", "srt://127.0.0.1:10080?streamid=", "ffplay", "--set"]
        {
            assert!(help.contains(part), "{part} is missing:\n{help}");
        }
    }

    #[test]
    fn check_tells_whether_a_file_is_right() {
        let path = env::temp_dir().join(format!("thalweg-check-{}.toml", std::process::id()));
        let check = |text: &str| {
            #[expect(clippy::disallowed_methods, reason = "a plain test thread")]
            fs::write(&path, text).unwrap();
            thalweg(
                &["check", path.to_str().unwrap()],
                &[("THALWEG_SRT_LATENCY_MS", "not looked at")],
            )
        };
        let ran = check("[srt]\nlatency_ms = 20\n");
        assert_eq!((ran.code, &*ran.errors), (ExitCode::SUCCESS, ""));
        assert!(ran.output.ends_with("all is well\n"), "{}", ran.output);
        let ran = check("[srt]\nlatency_ms = 'x'\n");
        assert_eq!((ran.code, &*ran.output), (ExitCode::FAILURE, ""));
        assert!(ran.errors.contains(&format!("{}:2:14", path.display())), "{}", ran.errors);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn config_prints_what_is_in_force_or_a_file_to_start_from() {
        let ran =
            thalweg(&["config", "--set", "srt.latency_ms=20"], &[("THALWEG_LOG_FORMAT", "json")]);
        assert!(ran.output.contains("\nlatency_ms = 20  # --set\n"), "{}", ran.output);
        assert!(
            ran.output.contains("\nformat = \"json\"  # $THALWEG_LOG_FORMAT\n"),
            "{}",
            ran.output
        );
        let ran = thalweg(&["config", "--defaults"], &[]);
        assert!(ran.output.contains("\n[srt]\n# UDP addresses"), "{}", ran.output);
    }
}
