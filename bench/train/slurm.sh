#!/bin/bash
# A row of a table on 2 nodes of 8 GPUs. Submit it once: the job is sent back to the queue by itself until the
# training is finished, and goes on from its last checkpoint.
#
#   sbatch bench/train/slurm.sh --table faseg/4 --row 4 --dataset ade20k --root DIR --backbone-weights FILE
#
#SBATCH --job-name=maskbench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@300
# Five minutes before the time is up the shell below is told, which tells torchrun on every node, which tells
# the trainings: they finish the step, write a checkpoint and exit. torchrun waits 30 s for that, which may be
# too short for a large model on a slow disk; newer ones can be told to wait longer.

torchrun --help | grep -q shutdown-timeout && patience="--shutdown-timeout 240"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
stopped=no

srun --cpus-per-task "$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 8 --max-restarts 0 $patience \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:29500" \
    -m bench train "$@" &
training=$!
trap 'stopped=yes; kill -TERM "$training"' TERM
wait "$training"
status=$?
if [ "$stopped" = yes ]; then
    wait "$training" # that of above ended with the signal
    status=$?
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
