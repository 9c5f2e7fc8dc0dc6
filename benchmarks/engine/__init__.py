"""How fast networks train, beside what others reach and what the machine allows.

``python -m benchmarks.engine`` measures in one run, at the paper's sizes (16 channels
x 4000 samples, patches of 50, width 256, 4 + 2 layers, batches of 256):

* ``MAE.fit`` in float32 and bfloat16, compiled and not;
* a bare loop over the same step: what the engine adds to it;
* the same autoencoder as a PyTorch user writes it, from ``nn.TransformerEncoder`` and
  a stock ``DataLoader``;
* ``ViTMAEForPreTraining`` of Hugging Face at the same width and depth, on images whose
  patches hold as many values;
* the contrastive loss beside ``ClipLoss`` of open_clip;
* matrix products and copies at their fastest, what share of them a step reaches, and
  where its time goes;
* how long the paper's whole schedule would take.

All loops run in turn, the median of several repeats counts, and what precedes the
second epoch (compiling, above all) is left out. ``--device cuda`` does the same on a
GPU, ``--curves`` compares the losses of the precisions instead, ``--profile`` lists the
operators of a step, and ``--json FILE`` keeps the figures.
"""
