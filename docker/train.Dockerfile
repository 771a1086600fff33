FROM nvidia/cuda:12.8.1-devel-ubuntu24.04
