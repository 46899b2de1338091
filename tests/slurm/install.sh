#!/usr/bin/env bash
# Install the packages of a Slurm for the tests, where that is possible; else say why the tests will be skipped.
set -euo pipefail
packages=(slurmctld slurmd slurm-client munge)
export PATH="$PATH:/usr/sbin:/sbin"
present=yes
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || present=no
done
[ $present = no ] || exit 0
skipped() {
  echo "Slurm is not tested: $1" >&2
  exit 0
}
[ "$(id -u)" = 0 ] || skipped "${packages[*]} are not installed, and only root installs them"
command -v apt-get >/dev/null || skipped "${packages[*]} are not installed, and there is no apt-get"
# RUNLEVEL: no daemon is started by its package; the tests start their own
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
{ apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends "${packages[@]}"; } \
  </dev/null >/dev/null || skipped "${packages[*]} could not be installed"
