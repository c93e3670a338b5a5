//! From flags to what operator and plan both need: whose, where, as what.

use std::path::PathBuf;

use super::context::Context;
use super::failure::Failure;
use super::operator::SetupArgs;
use crate::config::{
    LogFormat, Passwd, Process, Settings, default_secrets_dir, default_state_dir, parse_host_label,
    parse_owner,
};
use crate::resource::ResourceName;

/// What the flags say, with the defaults for all that they do not.
pub(super) fn settings(args: &SetupArgs, context: &Context) -> Result<Settings, Failure> {
    let Some(specs_dir) = args.specs.clone() else {
        return Err(Failure::said(
            "--specs DIR is missing: the directory of spec files; `chanop init DIR` makes a first one",
        ));
    };
    let process = Process::current();
    let environment = &context.environment;
    let instance = match &context.globals.instance {
        Some(instance) => instance.clone(),
        None => ResourceName::parse(Settings::DEFAULT_INSTANCE)?,
    };
    let state_dir = match &args.state_dir {
        Some(directory) => directory.clone(),
        None => default_state_dir(process.euid, environment)?,
    };
    let secrets_dir = match &args.secrets_dir {
        Some(directory) => directory.clone(),
        None => default_secrets_dir(process.euid, environment)?,
    };
    let owner = args.owner.as_deref();
    let host_labels = args.host_labels.iter().map(|text| parse_host_label(text));
    Ok(Settings {
        instance,
        specs_dir: std::path::absolute(specs_dir)?,
        secrets_dir: std::path::absolute(secrets_dir)?,
        state_dir: std::path::absolute(state_dir)?,
        socket: std::path::absolute(context.socket()?)?,
        socket_group: None,
        listen: None,
        token_file: None,
        metrics_auth: false,
        metrics_channels: true,
        metrics_models: std::collections::BTreeSet::new(),
        owner: parse_owner(owner, process, environment, &Passwd::read()?)?,
        host_labels: host_labels.collect::<Result<_, _>>()?,
        prune_delay: Settings::DEFAULT_PRUNE_DELAY,
        max_runs: Settings::DEFAULT_MAX_RUNS,
        policy: args.policy.clone(),
        docker_host: args.docker_host.clone(),
        agent_cli: args.agent_cli.as_ref().map(std::path::absolute).transpose()?,
        runtime_classes: args.runtime_classes.iter().cloned().collect(),
        log_format: LogFormat::Text,
        takeover: false,
    })
}

/// The init that came with this program: it lies beside it.
pub(super) fn init_beside_us() -> Result<PathBuf, Failure> {
    let init = std::env::current_exe()?.with_file_name("chanop-init");
    if init.is_file() {
        return Ok(init);
    }
    Err(Failure::said(format!(
        "{} is not there: every container needs it; install chanop-init beside chanop",
        init.display()
    )))
}
