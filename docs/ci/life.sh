#!/bin/sh
# The whole life of a certificate on handwritten digits, in a few minutes: certify, gate, release, stream, alarm,
# certify again, compare, gate again. `sh docs/ci/life.sh FOLDER` writes everything below FOLDER, which is new.
set -eu
folder=${1:?name a new folder for the models, runs and pages}
mkdir "$folder"
cd "$folder"

# What there is: images to train with, images to certify on, and two days of a stream. On the second day a sensor fails:
# the fourth column of pixels sticks at full ink. Its labels come, too, and so do those of images to certify on afterwards.
python - <<'PYTHON'
import json
import numpy as np
import certify

parts = [certify.load_data(spec) for spec in ("digits:train", "digits")]
order = np.random.default_rng(0).permutation(sum(len(part.y) for part in parts))
x, y = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("x", "y"))

def save(name, x, y):
    np.savez(f"{name}.npz", x=x, y=y, num_classes=np.array(10))

def broken(x):
    changed = x.copy()
    changed[..., 3] = 1.0
    return changed

save("train", x[:800], y[:800])
save("mended", np.concatenate([x[:800], broken(x[:800])]), np.concatenate([y[:800], y[:800]]))
save("before", x[800:1050], y[800:1050])
save("after", broken(x[1050:1300]), y[1050:1300])
for day, rows, images in (("day-1", range(1300, 1500), x), ("day-2", range(1500, len(y)), broken(x))):
    with open(f"{day}.jsonl", "w") as file:
        for row in rows:
            seen = {"id": f"image {row}", "x": images[row].tolist(), "label": int(y[row])}
            file.write(json.dumps(seen) + "\n")
PYTHON

cat > policy.toml <<'TOML'
confidence = 0.95

[threat]
norm = "linf"

[[require]]
kind = "certified_accuracy"
of = "population"
radius = 0.02
at_least = 0.80

[[require]]
kind = "shifted_accuracy"
radius = 0.02
amount = 0.02
at_least = 0.80
TOML

train="certify train ibp --setting epochs=25 --setting eps=0.03 --quiet"
run="certify run --certifier crown --norm linf --radii 0.02,0.05 --attack pgd --attack-option steps=10 --quiet"

echo "== certify and gate"
$train --data npz:train.npz --out models/v1
$run --model models/v1 --data npz:before.npz --out runs/v1
certify gate runs/v1 --policy policy.toml

echo "== release: the evidence goes with the model, and anybody can check it"
certify export runs/v1 --format parquet --out v1.parquet
certify check v1.parquet --quiet

echo "== stream, first day: in force"
cat day-1.jsonl > stream.jsonl
certify monitor runs/v1 --stream stream.jsonl --quiet

echo "== stream, second day: an alarm, and exit code 1"
cat day-2.jsonl >> stream.jsonl
if certify monitor runs/v1 --stream stream.jsonl --html monitor.html --quiet; then
    echo "no alarm was raised" >&2
    exit 1
fi
certify check runs/v1/monitor.jsonl --quiet

echo "== certify again on images of today: the gate refuses"
$run --model models/v1 --data npz:after.npz --out runs/v1-after
if certify gate runs/v1-after --policy policy.toml; then
    echo "the gate let a broken release pass" >&2
    exit 1
fi

echo "== a model that has seen the broken sensor; compare, gate again"
$train --data npz:mended.npz --out models/v2
$run --model models/v2 --data npz:after.npz --out runs/v2
certify compare runs/v1-after runs/v2
certify gate runs/v2 --policy policy.toml

echo "== a new certificate, with a new life"
certify monitor runs/v2 --stream day-2.jsonl --quiet
certify report runs/v2 --html report.html
