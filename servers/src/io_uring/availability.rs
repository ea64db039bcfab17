//! Checks whether this process may use io_uring.

use std::io;

use super::setup::set_up;

/// Returns why io_uring is unavailable and what to do about it, or `None` if it is available.
pub fn unavailable() -> Option<String> {
    try_set_up().err().map(|error| explain(&error, &kernel_setting("io_uring_disabled")))
}

/// Sets up a ring with all kernel features that the patterns need, and closes it.
fn try_set_up() -> io::Result<()> {
    let (uring, buffers) = set_up(1, 2)?;
    let done = uring.submit();
    // The kernel uses the buffers until the ring is closed.
    drop(uring);
    drop(buffers);
    done.map(drop)
}

fn kernel_setting(name: &str) -> String {
    let value = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    value.map_or_else(|_| String::new(), |value| value.trim().to_owned())
}

fn explain(error: &io::Error, disabled: &str) -> String {
    let too_old = || {
        let running = kernel_setting("osrelease");
        format!(
            "the io_uring features used here need Linux 6.1 or newer; the running kernel is {running}"
        )
    };
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => format!(
            "the kernel ({}) has no io_uring; run Linux 6.1 or newer, built with io_uring, outside of sandboxes that hide it",
            kernel_setting("osrelease")
        ),
        (Some(libc::EINVAL), _) => too_old(),
        (Some(libc::EPERM | libc::EACCES), "2") => {
            "io_uring is disabled; set the sysctl kernel.io_uring_disabled to 0".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES), "1") => {
            "io_uring is restricted to privileged processes; set the sysctl kernel.io_uring_disabled to 0, or join the group in kernel.io_uring_group".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden, as in many containers; run outside of the container, or with a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register".to_owned()
        }
        (Some(libc::ENOMEM), _) => {
            "not enough memory for io_uring; raise the limit on locked memory (ulimit -l) or the memory limit of the control group".to_owned()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "no descriptor is left for io_uring; raise the limit (ulimit -n)".to_owned()
        }
        _ => format!("the kernel refuses io_uring: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        let rows = [
            (libc::ENOSYS, "0", "run Linux 6.1 or newer"),
            (libc::EINVAL, "0", "need Linux 6.1"),
            (libc::EPERM, "2", "set the sysctl kernel.io_uring_disabled to 0"),
            (libc::EPERM, "1", "kernel.io_uring_group"),
            (libc::EPERM, "0", "seccomp profile that allows io_uring_setup"),
            (libc::EPERM, "", "seccomp profile that allows io_uring_setup"),
            (libc::ENOMEM, "0", "ulimit -l"),
            (libc::EMFILE, "0", "ulimit -n"),
            (libc::EIO, "0", "refuses io_uring"),
        ];
        for (error, disabled, remedy) in rows {
            let message = explain(&io::Error::from_raw_os_error(error), disabled);
            assert!(message.contains(remedy) && !message.contains('\n'), "{message}");
        }
    }
}
