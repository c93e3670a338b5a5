//! Marks: the branches in which planner and core recover from something, so that tests can say which of them were taken.
//!
//! A branch that no test ever takes is a guess. Each of these is named where it stands, the core keeps the set of those that
//! it took, and the simulator's suite fails when one of them is never in it. In production that is a set of at most as many
//! words as stand here, and nobody reads it.

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident,)*) => {
        /// A branch of recovery.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $mark,)*
        }

        impl Mark {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$mark,)*];
        }
    };
}

marks! {
    // The planner's.
    /// Made, and its spec changed before it was started.
    ChangedBeforeStart,
    /// Made, and whether completely is not known.
    PerhapsIncomplete,
    /// Its start left an error behind.
    StartLeftError,
    /// It ended and was started in vain so often that it is made anew.
    StartedInVain,
    /// It is bound to a network that is gone.
    Unstartable,
    /// It ended, and is not what its file wants though its hash is.
    EndedChangedByHand,
    /// It ended, its successor's image cannot be had, and it serves on.
    OldOneServes,
    /// It runs, and its successor's image cannot be had.
    SuccessorWaits,
    /// Somebody set a restart policy and it restarts.
    Restarting,
    /// The engine is removing it.
    Removing,
    /// The engine holds it half removed.
    Dead,
    /// It ended too often to be started at once.
    CrashLoop,
    /// It runs, and was changed by hand.
    ChangedByHand,
    /// Limits or restart policy are put back.
    PutBack,
    /// Who was in the shell is looked for again.
    StillInside,
    /// Somebody is in it, and the wait is over.
    WaitIsOver,
    /// Nothing explains it, and it is given time.
    StrayWaits,
    /// Nothing explains it, and its time is over.
    StrayGoes,
    /// A file that cannot be read may want it.
    MayBeClaimed,
    /// Stopped for good while a person has it paused.
    PausedFarewell,

    // The planner's, of runs.
    /// It may have run before, with a store that is lost.
    RunHeld,
    /// Somebody wished its end.
    RunCancelled,
    /// It could not begin in time.
    RunTooLate,
    /// A person started what nobody had leave to start.
    StartedByHand,
    /// Its start was not answered, and may still come through.
    StartUnanswered,
    /// It is removed so that no start can come through.
    RunFenced,
    /// Somebody set a restart policy on it.
    RunPolicy,
    /// Its time is over.
    RunDeadline,
    /// The API refuses its credentials.
    CredentialsRefused,
    /// It gave its final result, and does not exit.
    DoesNotExit,
    /// A person paused it.
    RunPaused,
    /// It was killed, perhaps for memory.
    SecondLook,
    /// Its container is not listed.
    RunVanished,
    /// A person renamed it.
    RunRenamed,
    /// Its output does not come.
    OutputGivenUp,
    /// It ran, and nobody knows how it ended.
    RunLost,
    /// Its end is known from an engine that was away.
    EndAfterGap,
    /// Its end is known from an event alone.
    EndFromEvent,
    /// Its container was found, and no record of it.
    RunFound,
    /// Its record is dropped.
    Buried,

    // The core's: what calls came to.
    /// It vanished before the call.
    Vanished,
    /// Nobody has the name.
    NameIsFree,
    /// The name is taken.
    NameTaken,
    /// It is taken by a stranger.
    NameConflict,
    /// The engine refuses a look.
    LookRefused,
    /// Its state does not allow it.
    Conflict,
    /// That lasts.
    ConflictLasts,
    /// The engine refuses.
    Refused,
    /// The engine fails.
    Failed,
    /// The disk is full.
    NoSpace,
    /// A change whose outcome is unknown.
    UnknownChange,
    /// A look without an answer.
    UnknownLook,
    /// The engine cannot be reached.
    Unreachable,
    /// A create finds no image.
    ImageMissing,
    /// An image cannot be brought.
    ImageFailed,
    /// Too many images are on their way.
    ImageWaits,
    /// An event came after the look was sent.
    StaleLook,
    /// The engine reports a fresh container otherwise than it was asked for.
    UnreadableDrift,
    /// Made here, and its start must be repeated.
    StartUnsent,

    // The core's: when.
    /// A read comes before anything else.
    ReadFirst,
    /// That read waits.
    ReadWaits,
    /// A look comes before a change.
    LooksFirst,
    /// A gate is closed.
    GateClosed,
    /// A lane is full.
    LaneFull,

    /// A running shell has something else mounted than the host has.
    MountsChanged,
    // The core's: the connection.
    /// The engine is away.
    WentDown,
    /// So many calls failed that the engine is at fault.
    Breaker,
    /// The event stream did not open.
    NotOpened,
    /// The event stream ended.
    StreamEnded,
    /// An own change's event did not come.
    EchoMissed,
    /// A list was sent before something that was done since.
    StaleList,
    /// A list says of what was seen running that it was never started.
    ListForgetsStart,
    /// A list is older than a look.
    ListIsOlder,
    /// A list says that something lives that was seen ended.
    ListInDoubt,
    /// So much is to be read that a list is cheaper.
    ListRather,
    /// A list answers a doubt.
    ListSettles,
    /// A container is missing from a list.
    MissingFromList,
    /// A running shell is looked at since nobody listened.
    Audited,
    /// Another engine answers.
    EngineChanged,
    /// The anchor is another's.
    AnchorTaken,
    /// The anchor is missing and containers have an owner.
    AnchorRefused,
    /// The network cannot be made.
    NetworkFailed,
    /// The network may be gone.
    NetworkInDoubt,

    // The core's: files, store, people.
    /// A commit failed.
    CommitFailed,
    /// The store can be written again.
    StoreIsBack,
    /// The directory cannot be read.
    Frozen,
    /// A file's last good content counts.
    LastGood,
    /// A removal is held.
    RemovalHeld,
    /// A suspension's time is over.
    OverrideEnds,
    /// Somebody waited for a shell in vain.
    EnsureInVain,
}
