"""What runs are computed on, and how fast that may be assumed to be."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from medtransfer.config.study import HardwareSettings
from medtransfer.provenance import processor
from medtransfer.training.devices import visible_devices

# Dense peak of tensor cores in bfloat16 (float16 where there is none), TFLOP/s, from the makers' data
# sheets; the first name that is part of the device's name counts.
GPU_PEAKS = {
    "B200": 2250, "H200": 989, "H100 PCIe": 756, "H100": 989, "GH200": 989, "L40S": 362, "L40": 181,
    "L4": 121, "A100": 312, "A40": 150, "A30": 165, "A10": 125, "RTX 6000 Ada": 364, "RTX A6000": 155,
    "RTX 4090": 165, "RTX 3090": 71, "V100": 125, "T4": 65,
}  # fmt: skip
OTHER_GPU_PEAK = 100
# ResNet-50 in mixed precision reaches about 8 % (H100) to 20 % (A100) of the peak, small networks less.
GPU_SHARE = 0.1
# A core of today's servers gives 30 (MobileNetV2) to 110 (3 x 3 convolutions) GFLOP/s in float32.
CORE_SPEED = 50e9


@dataclass(frozen=True)
class Processor:
    """What a training job computes on.

    Attributes:
        name: as ``run.json`` has it under ``hardware``.
        gpu: whether it is one.
        share: of the device for one job: a slot of a GPU, or the number of CPU threads.
    """

    name: str
    gpu: bool
    share: float

    @property
    def unit(self) -> str:
        return "GPU-hours" if self.gpu else "CPU-hours"

    @property
    def threads(self) -> int | None:
        """CPU threads of a job where they decide its speed."""
        return None if self.gpu else round(self.share)

    @property
    def speed(self) -> float:
        """Assumed floating-point operations a second of one job."""
        if not self.gpu:
            return CORE_SPEED * self.share
        peak = next((v for name, v in GPU_PEAKS.items() if name in self.name), OTHER_GPU_PEAK)
        return peak * 1e12 * GPU_SHARE * self.share

    @property
    def step_seconds(self) -> float:
        """Assumed time of an optimiser step beside its operations."""
        return 0.01 if self.gpu else 0.003

    @property
    def start_seconds(self) -> float:
        """Assumed time of a job beside training and evaluation."""
        return 15.0 if self.gpu else 5.0

    @property
    def assumptions(self) -> str:
        """The model in a sentence."""
        return (
            f"{self.speed / 1e12:.3g} TFLOP/s, {1000 * self.step_seconds:g} ms a step beside, "
            f"{self.start_seconds:g} s to start a job"
        )


def chosen_processor(hardware: HardwareSettings, gpu: str | None = None) -> Processor:
    """What training jobs of these settings will run on here.

    Args:
        hardware: device, slots and threads.
        gpu: the name of a GPU that is taken to be there.
    """
    asked = gpu is not None or hardware.device == "cuda"
    if asked or (hardware.device == "auto" and visible_devices()):
        return Processor(gpu or gpu_name(), True, 1 / hardware.jobs_per_gpu)
    return Processor(processor(), False, float(hardware.train_threads))


def gpu_name() -> str:
    """The name of the first GPU as the driver gives it; ``GPU`` if it gives none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "GPU"
    return (listing.stdout.splitlines() or [""])[0].strip() or "GPU"


def recorded_processor(name: str, threads: int, present: Processor) -> Processor:
    """What a finished run was computed on.

    Args:
        name, threads: as its record has them.
        present: whose slots a GPU is taken to have had then, too.
    """
    gpu = not name.endswith(" cores")  # as medtransfer.provenance.processor names CPUs
    share = (present.share if present.gpu else 1.0) if gpu else float(threads)
    return Processor(name, gpu, share)
