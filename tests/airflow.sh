#!/usr/bin/env bash
# A real Airflow for the test of the DAG example, in an environment of its own.
#
#   tests/airflow.sh FOLDER   makes the environment in FOLDER, unless it is there as it should be
#
# It takes about a minute and 280 MB, once; FOLDER/env/bin/airflow is what it leaves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

folder=${1:?usage: tests/airflow.sh FOLDER}
python=${PYTHON:-python3}
wanted=$(sha256sum airflow-constraints.txt | cut -d' ' -f1)
stamp=$folder/.installed

mkdir -p "$folder"
# Two processes at once: the second one waits, and finds the work done.
exec 9>"$folder/.lock"
flock 9
[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || exit 0

echo "==> installing Airflow for its test into $folder (a minute, 280 MB)" >&2
version=$(sed -n 's/^apache-airflow==//p' airflow-constraints.txt)
"$python" -m venv --clear "$folder/env"
"$folder/env/bin/python" -m pip install -qq --no-input --disable-pip-version-check \
  -c airflow-constraints.txt "apache-airflow==$version"
echo "$wanted" >"$stamp"
