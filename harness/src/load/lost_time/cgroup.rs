//! Throttling by the CPU quotas of cgroups (cgroups(7)).

use std::path::PathBuf;

/// Returns the throttled time of `cpu.stat` in nanoseconds: `throttled_usec` in cgroup v2,
/// `throttled_time` (ns) in v1. Both are missing if the CPU controller is not enabled.
pub(super) fn throttled_ns(cpu_stat: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> {
        let mut fields = cpu_stat.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    };
    value("throttled_usec").map(|us| us.saturating_mul(1000)).or_else(|| value("throttled_time"))
}

/// Returns the `cpu.stat` files of a process's cgroup and of the cgroup's ancestors, as far as they
/// are mounted. The quota of each of these cgroups limits the process.
///
/// The arguments are the contents of `/proc/PID/cgroup` and `/proc/PID/mountinfo` (cgroups(7),
/// proc(5)).
pub(super) fn cpu_stat_files(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let membership = |is_unified: bool| {
        cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_cpu_hierarchy = match is_unified {
                true => number == "0" && controllers.is_empty(),
                false => controllers.split(',').any(|it| it == "cpu"),
            };
            is_cpu_hierarchy.then_some(path)
        })
    };
    let mut files = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let (mount, filesystem): (Vec<&str>, Vec<&str>) =
            (mount.split(' ').collect(), filesystem.split(' ').collect());
        let ([_, _, _, root, point, ..], [kind, _, options, ..]) = (&mount[..], &filesystem[..])
        else {
            continue;
        };
        let path = match *kind {
            "cgroup2" => membership(true),
            "cgroup" if options.split(',').any(|it| it == "cpu") => membership(false),
            _ => None,
        };
        let Some(path) = path else { continue };
        // In a container, the mount's root may be the process's cgroup. `path` may then be outside
        // the mount: it begins with `..`.
        let is_outside = path.split('/').any(|name| name == "..");
        let inside = path.strip_prefix(root.trim_end_matches('/')).filter(|_| !is_outside);
        let mut directory = PathBuf::from(point);
        files.push(directory.join("cpu.stat"));
        for name in inside.unwrap_or("").split('/').filter(|name| !name.is_empty()) {
            directory.push(name);
            files.push(directory.join("cpu.stat"));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttled_time_is_read_from_cgroup_v1_and_v2() {
        let v2 = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 7\nnr_throttled 2\n\
                  throttled_usec 1500\nnr_bursts 0\nburst_usec 0\n";
        assert_eq!(throttled_ns(v2), Some(1_500_000));
        assert_eq!(
            throttled_ns("nr_periods 7\nnr_throttled 2\nthrottled_time 1500\n"),
            Some(1_500)
        );
        // The root cgroup has no quota, so it reports no throttling.
        assert_eq!(throttled_ns("usage_usec 9\nuser_usec 5\nsystem_usec 4\n"), None);
        assert_eq!(throttled_ns(""), None);
    }

    #[test]
    fn cgroups_of_a_process_are_found_in_v1_and_v2_and_in_containers() {
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let files = |cgroup: &str, mountinfo: &str| -> Vec<String> {
            let files = cpu_stat_files(cgroup, mountinfo);
            files.iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            files("0::/user.slice/one.scope\n", v2),
            [
                "/sys/fs/cgroup/cpu.stat",
                "/sys/fs/cgroup/user.slice/cpu.stat",
                "/sys/fs/cgroup/user.slice/one.scope/cpu.stat"
            ]
        );
        assert_eq!(files("0::/\n", v2), ["/sys/fs/cgroup/cpu.stat"]);
        assert_eq!(files("0::/../other\n", v2), ["/sys/fs/cgroup/cpu.stat"]);
        let v1 = "33 25 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                  34 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let of_v1 = "12:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc/job\n0::/\n";
        assert_eq!(
            files(of_v1, v1),
            ["/sys/fs/cgroup/cpu,cpuacct/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/job/cpu.stat"]
        );
        assert_eq!(files("", v1), [""; 0]);
        assert_eq!(files(of_v1, "nonsense\n1 2 - x\n"), [""; 0]);
    }
}
