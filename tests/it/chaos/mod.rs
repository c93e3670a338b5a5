//! Faults, one by one, on a real engine: each test makes one happen and then lets it be over.
//!
//! Every test has an engine of its own behind the fault proxy ([`crate::support::proxy`]), and on it a stranger that bears our
//! labels. What must hold after every fault is in [`bed::Bed::finish`]: all channels run, each in one container; never did two
//! of one channel live at the same time, as the engine itself tells; the stranger is as it was; the operator is the same
//! process unless the test ended it, is ready, has nothing left to do, and ends in time; and then no container, network,
//! volume, process, mount, namespace or cgroup is left. What must hold beside that stands here.
//!
//! `make chaos` runs all of them; those that are fast and tell most (in bold) are run by `make test` as well.
//!
//! | fault | what happens | what must hold beside the rest |
//! |---|---|---|
//! | F1 | the engine stops, and dies | few probes meanwhile; the same containers run again |
//! | F2 | likewise, with live-restore | nothing is changed; the stream is heard again |
//! | F4 | containerd is killed, once while a shell ends | nothing is changed; an end that nobody told heals with the engine's restart |
//! | F5 | a shim is killed | that shell alone runs again |
//! | F6 | the engine hangs | few calls; each queued request is done once at most; the operator ends within 15 s |
//! | F7 | starts, lists, or looks at one container hang | no other channel waits |
//! | F8 | answers stall after their head, or break off | timeouts count for the body too; half an answer is none |
//! | **F9** | a create's answer is lost | found by name; one container, one start |
//! | **F10** | a start's answer is lost | no second start |
//! | F11 | likewise, and the process ends at once | a look before the next start; the crash loop's waits |
//! | **F13** | a remove's answer is lost | not removed twice, made once |
//! | **F14** | a stop's answer is lost | not stopped twice |
//! | F15 | a create is heard twice | our own container is no conflict |
//! | **F16** | our name is a stranger's | hands off, and it is said; few tries |
//! | F17 | the name is taken, and nobody has it | waited for; nothing is removed |
//! | F18 | a removal goes on, fails, and is done by a hand | tried later and later, with looks between; "not found" is success |
//! | F19 | a hand starts, or stops, first | 304 is success |
//! | F20 | a container vanishes between look and act | made anew |
//! | **F21** | bursts of 500 and 503 | few calls |
//! | F22 | an API version too old, too new, or suddenly refused | a clear word and no change; asked again |
//! | **F23** | the stream is cut for more events than the engine keeps | a list tells |
//! | F24 | events are lost, and late | the list of every minute tells; no change too many |
//! | F25 | events are doubled and out of order | no change too many |
//! | F26 | the stream's head comes before the subscription | what happened between is replayed |
//! | F27 | the stream is deaf | the missing echo of an own change tells within 30 s |
//! | **F28** | a list of yesterday | neither made anew nor believed to run |
//! | F30 | a start fails, for a port is in use | few tries; the reason is said |
//! | F31 | a crash loop | few starts, one create |
//! | F32 | a hand pauses | left alone, whatever its file says |
//! | F33 | ours is renamed away, a foreign one is renamed onto our name | both are left alone |
//! | F34 | an image hands our labels on | left alone |
//! | F35 | a stopped shell is pruned | made anew when it is wanted |
//! | F36 | a stopped shell is started, a running one gets a restart policy | stopped again; the policy goes without a restart |
//! | F37 | the engine's disk is full | few tries; who runs, runs on |
//! | F38 | the store's disk is full | nothing is changed until it can be written again |
//! | F41 | the spec directory is swapped, moved, replaced | no stop, no removal; healing goes on |
//! | F42 | files of every bad kind | no change at all |
//! | F43 | more events than inotify keeps | read anew within 35 s |
//! | F44 | what editors and checkouts do | no change at all |
//! | F47 | a second operator, also while the first is stopped | refused; it changes nothing |
//! | F48 | the operator is killed before and after each call of a change | the next one finishes it |
//! | F49 | another engine answers | it is said; channels are made anew on it |
//! | F50 | an image is missing, slow, and moved | others do not wait; who runs keeps what it was made from |
//! | F51 | twenty-four channels after an outage | few probes; creates begin slowly; a call each |
//!
//! And with runs, in [`runs`]: each attempt is executed once at most, and its end is what really came of it.
//!
//! | fault | what happens to a run | what must hold beside the rest |
//! |---|---|---|
//! | F1 | the engine stops, and dies | Failed or Lost, and not tried again |
//! | F2 | likewise, with live-restore | the same container; nothing of its output is lost |
//! | F3 | the engine is killed while it starts it | one that never started was not executed |
//! | F10, F11 | a start's answer is lost, and it ends at once | no second start |
//! | F12 | a start is carried out after its operator's death | adopted, or fenced |
//! | F29 | it has no memory left, or a child of it | `OomKilled`, or it goes on |
//! | F35 | it is removed by hand before its record | what is known, or Lost |
//! | F36 | a restart policy, and a start by hand | the policy goes; nothing runs twice; the record stays |
//!
//! Not here, because a simulation does it better (clocks, torn writes): F39, F40, F45, F46 and F52.

mod answers;
mod bed;
mod disk;
mod engine;
mod events;
mod files;
mod hands;
mod operators;
mod runs;
