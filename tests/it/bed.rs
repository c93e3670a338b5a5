//! A channel's place on a real file system: an owner with a home, a state directory, and secrets. Needs root, as the
//! operator that serves somebody else does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use chanop::host::{Host, Occasion, PrepareError, Prepared, prepare};
use chanop::resource::effective::{Home, Workspace};
use chanop::resource::{Effective, Owner, Resource, ResourceName, merge};
use chanop::world::preparation::{ContainerUser, HostPaths, Preparation};

/// The owner's number, and group.
pub(crate) const OWNER: u32 = 1000;

/// All of it; gone when dropped.
pub(crate) struct Bed {
    directory: tempfile::TempDir,
    pub(crate) host: Host,
    pub(crate) preparation: Preparation,
}

impl Bed {
    /// An owner with a workspace `src/demo` in an otherwise empty home.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test gives files away: run it as root");
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let home = path("home");
        let workspace = format!("{home}/src/demo");
        fs::create_dir_all(&workspace).unwrap();
        for owned in [home.clone(), format!("{home}/src"), workspace.clone()] {
            chown(owned, Some(OWNER), Some(OWNER)).unwrap();
        }
        fs::create_dir(path("secrets")).unwrap();
        let host = Host {
            paths: HostPaths { state: path("state"), secrets: path("run/secrets") },
            secrets_directory: Some(root.join("secrets")),
            init_source: env!("CARGO_BIN_EXE_chanop-init").into(),
        };
        let owner = Owner { user: "ada".to_owned(), uid: OWNER, gid: OWNER, home };
        let preparation = Preparation {
            channel: ResourceName::parse("demo").unwrap(),
            run: None,
            owner,
            user: ContainerUser { uid: OWNER, gid: OWNER, of_image: false },
            groups: vec![],
            workspace: Workspace { path: workspace, create: false },
            home: Home::Channel,
            binds: vec![],
            volumes: vec![],
            targets: vec![],
            files: vec![],
            secrets: vec![],
            credentials: None,
            signs_in_by_key: false,
            mcp_servers: BTreeMap::new(),
            verify_mounts: true,
        };
        Self { directory, host, preparation }
    }

    /// A path in the bed.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    /// The same as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file, with its directories, of the owner's.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
    }

    /// A secret, as it should be.
    pub(crate) fn secret(&self, name: &str, key: &str, value: &[u8]) -> PathBuf {
        let directory = self.path("secrets").join(name);
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(key);
        fs::write(&file, value).unwrap();
        set_mode(&file, 0o600);
        file
    }

    /// What the executor does before a creation.
    pub(crate) fn prepare(&self) -> Result<Prepared, PrepareError> {
        prepare(&self.preparation, &self.host, Occasion::Create)
    }
}

/// The bed's channel as it counts: it wishes for no more than its workspace and a model.
pub(crate) fn effective(bed: &Bed) -> Effective {
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: demo}}\nspec:\n  workspace: {{path: '{}'}}\n  agent: {{model: sonnet}}\n",
        bed.preparation.workspace.path
    );
    let parsed = chanop::specs::parse::parse_file("a.yaml", &text);
    let Some(Resource::Channel(channel)) = parsed.resources.into_iter().next() else {
        panic!("{:?}", parsed.violations);
    };
    merge::effective(&channel, None, &bed.preparation.owner).unwrap().effective
}

/// Permissions.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
