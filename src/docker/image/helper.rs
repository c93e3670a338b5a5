//! Asking for a registry's credentials: Docker's config file is read, and where that names a helper, the helper is run.
//!
//! The one host process that chanop starts to do Docker's work. Keychains, password stores and cloud logins are reached by
//! nothing but these programs: the engine has no API for them, and whoever logged in with `docker login` expects a pull to know
//! it. Narrow it is: a program of a fixed name and a plain word, looked up in directories that were given, with the fixed
//! argument `get`, the registry on its standard input, bounded in time and in what it says. No shell is in between.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::credentials::{
    CredentialsError, DockerConfig, Found, HelperName, RegistryAuth, of_answer,
};
use crate::container::{ImageRef, NormalImageRef};

/// A keychain that wants to be unlocked waits for a person, who is not there; a cloud's login takes some seconds.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many registries a build is told the credentials of: each may cost a process, and all of them go into one header.
const REGISTRIES_MAX: usize = 50;
/// How many helpers run side by side.
const HELPERS_AT_ONCE: usize = 8;
/// How long a build waits for all of them: twice as long as for one, so that one that hangs holds up no other.
const ALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Tokens have a few kB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The longest config file that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// How much of a helper's complaint is repeated.
const COMPLAINT_CHARS_MAX: usize = 200;
/// What every helper says of a registry that it does not know, and of one whose entry has no name.
const NOTHING: &[&str] = &[
    "credentials not found in native keychain",
    "no credentials server URL",
    "no credentials username",
];

/// Where credentials are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CredentialSources {
    /// Docker's `config.json`; `None`: every pull is anonymous.
    pub config_file: Option<PathBuf>,
    /// The directories with helpers, in the order of looking.
    pub search_path: Vec<PathBuf>,
}

impl CredentialSources {
    /// Whom the engine should be when it pulls this image; `None`: nobody. Read anew each time, because people log in and
    /// out.
    pub async fn find(&self, image: &ImageRef) -> Result<Option<RegistryAuth>, CredentialsError> {
        match (image.normal(), self.config().await?) {
            (Some(image), Some(config)) => self.find_in(&config, &image).await,
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// Whom the engine should be at each registry that Docker's config file names: a build says only while it runs which of them
    /// it needs. One that cannot be had is left out, because the build may not need it; where it does, the registry's
    /// refusal says so.
    pub async fn all(&self) -> Result<Vec<RegistryAuth>, CredentialsError> {
        let Some(config) = self.config().await? else { return Ok(Vec::new()) };
        let images = config.one_of_each();
        let wanted = images.len();
        let asked = stream::iter(images)
            .take(REGISTRIES_MAX)
            .map(|image| self.find_or_leave_out(&config, image))
            .buffer_unordered(HELPERS_AT_ONCE)
            .take_until(tokio::time::sleep(ALL_TIMEOUT));
        let answers: Vec<Option<RegistryAuth>> = asked.collect().await;
        if answers.len() < wanted {
            let left = wanted - answers.len();
            tracing::debug!(
                left,
                "registries left out of a build's credentials: too many, or too slow"
            );
        }
        let mut all: Vec<RegistryAuth> = answers.into_iter().flatten().collect();
        all.sort_by(|a, b| a.server().cmp(b.server()));
        Ok(all)
    }

    async fn find_or_leave_out(
        &self,
        config: &DockerConfig,
        image: NormalImageRef,
    ) -> Option<RegistryAuth> {
        match self.find_in(config, &image).await {
            Ok(found) => found.map(|auth| auth.named_for(&image)),
            Err(error) => {
                let registry = image.registry();
                tracing::debug!(registry, %error, "left out of a build's credentials");
                None
            }
        }
    }

    async fn config(&self) -> Result<Option<DockerConfig>, CredentialsError> {
        let Some(path) = &self.config_file else { return Ok(None) };
        let Some(text) = read_config(path.clone()).await? else { return Ok(None) };
        DockerConfig::parse(&text).map(Some)
    }

    async fn find_in(
        &self,
        config: &DockerConfig,
        image: &NormalImageRef,
    ) -> Result<Option<RegistryAuth>, CredentialsError> {
        let found = match config.find(image)? {
            Found::Ask { helper, server } => {
                match self.ask(&helper, &server, HELPER_TIMEOUT).await? {
                    Some(auth) => Found::Auth(auth),
                    None => config.in_file(image)?,
                }
            }
            found => found,
        };
        match found {
            Found::Auth(auth) => Ok(Some(auth)),
            Found::Nothing | Found::Ask { .. } => Ok(None),
        }
    }

    async fn ask(
        &self,
        helper: &HelperName,
        server: &str,
        patience: Duration,
    ) -> Result<Option<RegistryAuth>, CredentialsError> {
        let failed =
            |why: String| CredentialsError::Helper { name: helper.as_str().to_owned(), why };
        let program = self
            .program(helper)
            .ok_or_else(|| failed(format!("no such program in {}", shown(&self.search_path))))?;
        let said = tokio::time::timeout(patience, run(&program, server)).await;
        let (success, answer) = said
            .map_err(|_elapsed| failed(format!("no answer within {} s", patience.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        if answer.len() as u64 == ANSWER_BYTES_MAX {
            return Err(failed("it says more than any credentials have".to_owned()));
        }
        if success {
            // What it said could hold the secret, so only that it was no answer is told.
            let auth = of_answer(server, &answer);
            return auth
                .map(Some)
                .ok_or_else(|| failed("its answer has no credentials".to_owned()));
        }
        let complaint = String::from_utf8_lossy(&answer);
        if NOTHING.iter().any(|words| complaint.contains(words)) {
            return Ok(None);
        }
        Err(failed(complaint_of(&complaint)))
    }

    /// Relative directories are not looked in: what they mean depends on where the operator was started.
    fn program(&self, helper: &HelperName) -> Option<PathBuf> {
        let name = format!("docker-credential-{}", helper.as_str());
        let programs =
            self.search_path.iter().filter(|dir| dir.is_absolute()).map(|dir| dir.join(&name));
        programs.into_iter().find(|path| is_program(path))
    }
}

/// Helpers complain on their standard output, where else the secret would be: what looks like an answer is not repeated.
fn complaint_of(said: &str) -> String {
    let said: String =
        said.trim().chars().filter(|c| !c.is_control()).take(COMPLAINT_CHARS_MAX).collect();
    if said.is_empty() || said.contains('{') {
        return "it failed without a reason".to_owned();
    }
    said
}

/// Its exit and its standard output. The environment is the operator's own: helpers find their keys by it.
async fn run(program: &Path, server: &str) -> io::Result<(bool, Vec<u8>)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one exception, for the reason at the head of this file"
    )]
    let mut command = tokio::process::Command::new(program);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(format!("{server}\n").as_bytes()).await {
            // One that answers without listening.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    }
    // Its output is closed, or it said too much; then closing our end ends it.
    Ok((child.wait().await?.success(), answer))
}

async fn read_config(path: PathBuf) -> Result<Option<String>, CredentialsError> {
    let read = move || -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(path)?.take(CONFIG_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(Err(error)) => Err(CredentialsError::File(error.to_string())),
        Err(error) => Err(CredentialsError::File(error.to_string())),
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() { "an empty search path".to_owned() } else { paths.join(":") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a config file and a helper named `test`, which is a script.
    struct Desk {
        directory: tempfile::TempDir,
    }

    impl Desk {
        fn new(config: &str, helper: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("config.json"), config).unwrap();
            let program = directory.path().join("docker-credential-test");
            fs::write(&program, format!("#!/bin/sh\n{helper}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            Self { directory }
        }

        fn sources(&self) -> CredentialSources {
            CredentialSources {
                config_file: Some(self.directory.path().join("config.json")),
                search_path: vec![PathBuf::from("relative"), self.directory.path().to_owned()],
            }
        }

        async fn find(&self) -> Result<Option<RegistryAuth>, CredentialsError> {
            self.sources().find(&ImageRef::parse("a.io/x").unwrap()).await
        }
    }

    const STORE: &str =
        r#"{"credsStore":"test","auths":{"a.io":{"username":"file","password":"p"}}}"#;

    #[tokio::test]
    async fn a_helper_is_asked_for_the_registry_and_answers_with_a_login() {
        let script = r#"
            read server
            [ "$1" = get ] && [ "$server" = a.io ] && [ $# = 1 ] || exit 3
            echo '{"ServerURL":"a.io","Username":"ann","Secret":"hunter2"}'"#;
        let auth = Desk::new(STORE, script).find().await.unwrap().unwrap();
        assert_eq!(auth, RegistryAuth::password("a.io", "ann", "hunter2"));
    }

    #[tokio::test]
    async fn a_helper_that_knows_nothing_leaves_it_to_the_file() {
        let script = "echo 'credentials not found in native keychain'; exit 1";
        let auth = Desk::new(STORE, script).find().await.unwrap().unwrap();
        assert_eq!(auth, RegistryAuth::password("a.io", "file", "p"));
        assert_eq!(Desk::new(r#"{"credsStore":"test"}"#, script).find().await, Ok(None));
    }

    #[tokio::test]
    async fn what_a_helper_complains_of_is_told_and_what_it_answers_is_not() {
        let error = Desk::new(STORE, "echo 'vault is locked'; exit 1").find().await.unwrap_err();
        assert_eq!(error.to_string(), "credential helper docker-credential-test: vault is locked");
        let error = Desk::new(STORE, "echo 'Secret: hunter2'").find().await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        for script in ["exit 1", "echo '{\"Secret\":\"hunter2\"}'; exit 1"] {
            let error = Desk::new(STORE, script).find().await.unwrap_err();
            assert!(error.to_string().contains("without a reason"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_says_too_much_or_nothing_at_all_is_given_up() {
        let error = Desk::new(STORE, "exec yes hunter2").find().await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let desk = Desk::new(STORE, "exec sleep 60");
        let helper = match DockerConfig::parse(STORE)
            .unwrap()
            .find(&ImageRef::parse("a.io/x").unwrap().normal().unwrap())
        {
            Ok(Found::Ask { helper, .. }) => helper,
            found => panic!("{found:?}"),
        };
        let patience = Duration::from_secs(1);
        let error = desk.sources().ask(&helper, "a.io", patience).await.unwrap_err();
        assert!(error.to_string().contains("no answer within 1 s"), "{error}");
    }

    #[tokio::test]
    async fn a_build_is_told_of_every_registry_whose_credentials_can_be_had() {
        let config = r#"{"credHelpers":{"b.io":"test","bad.io":"test","gone.io":"absent"},"auths":{
            "https://a.io/v1/":{"username":"file","password":"p"},"docker.io":{"username":"hub","password":"p"},
            "broken.io":{"auth":"h!nter2"},"b.io":{},"nothing.io":{}}}"#;
        let script = r#"
            read server
            [ "$server" = b.io ] || { echo 'vault is locked'; exit 1; }
            echo '{"Username":"ann","Secret":"hunter2"}'"#;
        let all = Desk::new(config, script).sources().all().await.unwrap();
        let wanted = [
            RegistryAuth::password("a.io", "file", "p"),
            RegistryAuth::password("b.io", "ann", "hunter2"),
            RegistryAuth::password("https://index.docker.io/v1/", "hub", "p"),
        ];
        assert_eq!(all, wanted);
    }

    #[tokio::test]
    async fn the_store_of_all_is_asked_only_for_those_who_logged_in() {
        let config =
            r#"{"credsStore":"test","credHelpers":{"c.io":""},"auths":{"https://a.io":{}}}"#;
        let script = r#"read server; echo "{\"Username\":\"$server\",\"Secret\":\"s\"}""#;
        let all = Desk::new(config, script).sources().all().await.unwrap();
        assert_eq!(all, [RegistryAuth::password("a.io", "a.io", "s")]);
    }

    #[tokio::test]
    async fn a_build_is_not_told_of_registries_without_end() {
        let entry = |i: usize| format!(r#""r{i:03}.io":{{"username":"u","password":"p"}}"#);
        let entries: Vec<String> = (0..REGISTRIES_MAX + 5).map(entry).collect();
        let config = format!(r#"{{"auths":{{{}}}}}"#, entries.join(","));
        let all = Desk::new(&config, "").sources().all().await.unwrap();
        let last = all.last().map(RegistryAuth::server);
        assert_eq!((all.len(), last), (REGISTRIES_MAX, Some("r049.io")));
    }

    #[tokio::test]
    async fn a_missing_helper_is_named_with_where_it_was_looked_for() {
        let desk = Desk::new(r#"{"credsStore":"absent"}"#, "");
        let error = desk.find().await.unwrap_err().to_string();
        let place = desk.directory.path().display().to_string();
        assert!(error.contains("docker-credential-absent") && error.contains(&place), "{error}");
    }

    #[tokio::test]
    async fn without_a_file_everybody_is_nobody() {
        let mut sources = Desk::new(STORE, "").sources();
        sources.config_file = Some(PathBuf::from("/nowhere/config.json"));
        let image = ImageRef::parse("a.io/x").unwrap();
        assert_eq!(sources.find(&image).await, Ok(None));
        assert_eq!(sources.all().await, Ok(Vec::new()));
        sources.config_file = Some(PathBuf::from("/"));
        assert!(matches!(sources.find(&image).await, Err(CredentialsError::File(_))));
        assert!(matches!(sources.all().await, Err(CredentialsError::File(_))));
    }
}
