#!/bin/sh
# Rebuilds the sample model, its LoRA and its model card from nothing: `./train.sh`.
#
# About 85 minutes on two cores with AMX (bfloat16 matrix tiles), 6 GB of disk. Uses $PYTHON where it is set, else a
# virtual environment that it makes in ./work/venv. All that it writes goes to ./work; the result is in ./work/export,
# laid out like ../ (mockup/, loras/). Seeds are fixed, but another processor or thread count rounds differently.
set -eu
cd "$(dirname "$0")"
mkdir -p work
if [ -z "${PYTHON:-}" ]; then
    PYTHON=work/venv/bin/python
    [ -x "$PYTHON" ] || python3 -m venv work/venv
    "$PYTHON" -m pip install --quiet -r requirements.txt
fi
# only the BPE vocabulary inside this wheel is used, not the package
ls work/open_clip_torch-*.whl >/dev/null 2>&1 || "$PYTHON" -m pip download --no-deps -d work open-clip-torch==3.3.0
rm -f work/*.log
"$PYTHON" build_tokenizer.py
"$PYTHON" render_data.py        # 24,000 + 2,400 pictures, 5 GB
"$PYTHON" train_vae.py
"$PYTHON" cache_latents.py
"$PYTHON" train_unet.py
"$PYTHON" train_lora.py
"$PYTHON" train_lora.py --resume 1 --steps 350 --seed 2
"$PYTHON" train_lora.py --resume 1 --steps 1300 --seed 3 --lr 0.0015
"$PYTHON" export.py
"$PYTHON" evaluate.py           # writes work/sheets/*.png and work/accuracy.txt
"$PYTHON" export.py             # again, so that the model card carries the accuracy
echo "The model is in $(pwd)/work/export, sheets of its pictures in $(pwd)/work/sheets."
