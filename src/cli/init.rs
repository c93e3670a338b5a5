//! `chanop init`: a spec directory to begin with. The only command that writes into one, and never over what is there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::context::Context;
use super::demo_image::DEMO_IMAGE;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;
use crate::config::real_home;
use crate::resource::ResourceName;

/// Where, and for which project.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct InitArgs {
    /// The directory to make: new, or empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The project's directory [default: the current one]
    #[arg(long, value_name = "PATH")]
    workspace: Option<PathBuf>,
    /// The channel's name [default: the project directory's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The image of its containers
    #[arg(long, value_name = "IMAGE", default_value = DEMO_IMAGE)]
    image: String,
}

/// Runs the command.
pub(super) fn run(args: &InitArgs, context: &Context) -> Outcome {
    let dir = std::path::absolute(&args.dir)?;
    let workspace = workspace(args, &dir)?;
    let name = match &args.name {
        Some(name) => ResourceName::parse_at_most(name, crate::resource::meta::NAME_MAX)?,
        None => name_of(&workspace)?,
    };
    // The current directory is a real path; the home may be written with a link in it.
    let homes: Vec<String> =
        context.environment.home.iter().flat_map(|home| [home.clone(), real_home(home)]).collect();
    let workspace = below_home(&workspace, &homes);
    if !workspace.starts_with("~/") {
        context.printer.err(format!(
            "note: {} is not below your home, and the built-in policy takes only workspaces below the owner's home",
            plain(&workspace)
        ));
    }
    let channel = format!("{name}.yaml");

    make_empty(&dir)?;
    write_new(&dir.join("default-class.yaml"), &class_file(&args.image))?;
    write_new(&dir.join(&channel), &channel_file(name.as_str(), &workspace))?;

    let shown = for_a_shell(&plain(&args.dir.display().to_string()));
    context
        .printer
        .out(format!("made {shown}/{channel}: the channel {name}, for {}", plain(&workspace)));
    context.printer.out(format!("made {shown}/default-class.yaml: what all channels share"));
    context.printer.out("\nnext:");
    let mut steps = vec![(format!("chanop validate {shown}"), "are the files right?")];
    if args.image == DEMO_IMAGE {
        steps.push(("chanop demo-image".to_owned(), "a small image made without any registry"));
    }
    steps.push(("chanop doctor".to_owned(), "has this host all that is needed?"));
    steps
        .push((format!("chanop operator --specs {shown}"), "keep the channels (leave it running)"));
    steps.push(("chanop get channels".to_owned(), "how do they stand?"));
    steps.push((format!("chanop shell {name}"), "go in"));
    let width = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
    for (command, why) in steps {
        context.printer.out(format!("  {command:<width$}   # {why}"));
    }
    Ok(Exit::Ok)
}

/// The project's directory. A workspace that holds its own specs is refused by the policy: the agent could rewrite them.
fn workspace(args: &InitArgs, dir: &Path) -> Result<PathBuf, Failure> {
    let workspace = match &args.workspace {
        Some(workspace) => std::path::absolute(workspace)?,
        None => std::path::absolute(".")?,
    };
    if dir.starts_with(&workspace) || workspace.starts_with(dir) {
        return Err(Failure::said(format!(
            "{} and the workspace {} lie in each other, so the agent could rewrite its own rules: \
             choose a directory outside, or another --workspace",
            dir.display(),
            workspace.display()
        )));
    }
    if !workspace.is_dir() {
        return Err(Failure::said(format!("{} is no directory", workspace.display())));
    }
    Ok(workspace)
}

/// The directory's name with what a channel's name may not have turned into `-`.
fn name_of(workspace: &Path) -> Result<ResourceName, Failure> {
    let last = workspace.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(crate::resource::meta::NAME_MAX)
        .collect();
    ResourceName::parse(name.trim_matches('-')).map_err(|_no_name| {
        Failure::said(format!(
            "no channel's name can be made of {}: give --name",
            workspace.display()
        ))
    })
}

/// `path` as one word of a command that can be copied.
fn for_a_shell(path: &str) -> String {
    let simple = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'+');
    if path.bytes().all(simple) && !path.starts_with('-') {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn below_home(path: &Path, homes: &[String]) -> String {
    let below = homes
        .iter()
        .filter_map(|home| path.strip_prefix(home).ok())
        .find(|it| *it != Path::new(""));
    below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display()))
}

fn make_empty(dir: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::said(format!("failed to make {}: {error}", dir.display()));
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::said(format!(
                "{} is not empty, and nothing is ever written over: choose a new directory",
                dir.display()
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::said(format!("failed to write {}: {error}", path.display())))
}

fn class_file(image: &str) -> String {
    let pull = if image == DEMO_IMAGE { ", pullPolicy: Never" } else { "" };
    format!(
        "# What every channel shares; a channel's own file overrides it. `chanop explain channelclass.spec` lists the fields.
apiVersion: chanop.dev/v1alpha1
kind: ChannelClass
metadata: {{name: default}}
spec:
  image: {{ref: {}{pull}}}
  resources: {{limits: {{memory: 2Gi, pids: 1024}}}}
",
        super::yaml::flow_scalar(image)
    )
}

fn channel_file(name: &str, workspace: &str) -> String {
    format!(
        "# One project, one long-lived container. `chanop explain channel.spec` lists the fields.
apiVersion: chanop.dev/v1alpha1
kind: Channel
metadata:
  name: {}
spec:
  workspace:
    path: {}
",
        super::yaml::flow_scalar(name),
        super::yaml::flow_scalar(workspace)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_after_its_project() {
        let named = |path: &str| name_of(Path::new(path)).map(|name| name.to_string());
        assert_eq!(named("/home/ann/My_Project.v2").unwrap(), "my-project-v2");
        assert_eq!(named("/home/ann/--x--").unwrap(), "x");
        assert!(named("/").is_err());
        assert!(named("/home/ann/.._").is_err());
    }

    #[test]
    fn a_path_below_home_is_written_so_that_it_fits_another_home_too() {
        let homes = ["/home/ann".to_owned(), "/var/home/ann".to_owned()];
        let written = |path: &str| below_home(Path::new(path), &homes);
        assert_eq!(written("/home/ann/src/x"), "~/src/x");
        assert_eq!(written("/var/home/ann/src/x"), "~/src/x");
        assert_eq!(written("/srv/x"), "/srv/x");
        assert_eq!(written("/home/ann"), "/home/ann");
    }

    #[test]
    fn nothing_is_written_over() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("a.yaml");
        write_new(&path, "mine").unwrap();
        assert!(write_new(&path, "theirs").is_err());
        assert!(make_empty(top.path()).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    }
}
