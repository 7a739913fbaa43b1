"""TVTS: a video encoder that learns from the words spoken during the video, by alignment and by sorting.

Zeng et al., "Learning Transferable Spatiotemporal Representations from Natural Script Knowledge", CVPR 2023. The state
dict has the official names (`video_model`, `text_model`, `vid_proj.0`, `txt_proj.1`, `pred_model`; the files prefix
them with `module.`), so an export is this state dict as it is.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from pretrain.model.masking import Pieces, Presentation, kept_per_tubelet, present
from pretrain.model.sorter import OrderClassifier, SortTransformer
from pretrain.model.text import TextConfig, TextTokenizer, build_text_model, cls_tokens
from pretrain.objectives.config import ObjectiveConfig
from tvts_bench.errors import UserError
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig


@dataclass(frozen=True, kw_only=True)
class TVTSConfig:
    """The whole model. The defaults are the paper's."""

    video: VideoTransformerConfig = field(default_factory=VideoTransformerConfig)
    text: TextConfig = field(default_factory=TextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    projection_dim: int = 256  # of the space where clips and transcripts are compared
    sorter_heads: int | None = None  # None: as many as the video encoder's
    mask: float = 0.75  # share of each tubelet's patches that is dropped before it is embedded

    def __post_init__(self) -> None:
        heads = self.video.num_heads if self.sorter_heads is None else self.sorter_heads
        if heads < 1 or self.video.embed_dim % heads:
            raise UserError(f"video.embed_dim {self.video.embed_dim} is not a multiple of sorter_heads {heads}")
        if self.projection_dim < 1:
            raise UserError(f"projection_dim must be positive, got {self.projection_dim}")
        if not 0 <= self.mask < 1 or kept_per_tubelet(self.video.grid**2, self.mask) < 1:
            raise UserError(
                f"mask {self.mask} leaves none of {self.video.grid**2} patches of a tubelet; use 0 to below 1"
            )
        tubelets = self.video.num_frames // self.video.tubelet
        if self.objective.sorts_video and not 2 <= self.items <= tubelets:
            raise UserError(
                f"target {self.objective.target} sorts {self.items} pieces, but {self.video.num_frames} frames make "
                f"{tubelets} tubelets: use more frames or fewer segments"
            )

    @property
    def items(self) -> int:
        """How many things are put in order: K segments or pieces, or every tubelet of the clip for MERLOT."""
        if self.objective.target == "merlot" and self.objective.sorts:
            return self.video.num_frames // self.video.tubelet
        return self.objective.segments


@dataclass(frozen=True, kw_only=True, eq=False)
class TVTSOutput:
    """What one batch of B samples became. Fields are None where the objective does not need them."""

    video: Tensor | None  # [B, P], projected [CLS] of the whole clips, not normalised
    text: Tensor | None  # [B, P], mean of the projected real segments, not normalised
    sort_logits: Tensor | None  # see `pretrain.objectives.ordering.sorting`
    order: Tensor | None  # int64 [B, K], for factorial: true position of what each slot showed
    clip_cls: Tensor | None = None  # [B, D], detached [CLS]; only without L_base, where nothing else tells a collapse
    text_cls: Tensor | None = None  # [B, Dt], the same of the first segments, if the text encoder is trained


class TVTS(nn.Module):
    """The model; build it with `seeded`.

    `forward` uses the same parameters whatever the batch holds, and parameters that the objective never reaches have
    `requires_grad` off, so DistributedDataParallel needs no search for unused ones. Those are: without L_base
    `vid_proj` and `txt_proj`, and with nothing but a stopped L_sort (or VCOP) also `text_model`. Without L_sort there
    is no `pred_model`.
    """

    def __init__(self, config: TVTSConfig, video_model: VideoTransformer, text_model: Any) -> None:
        """Parts as given; heads with torch's default initialisation, from the global random state."""
        super().__init__()
        self.config = config
        objective, dim, text_dim = config.objective, config.video.embed_dim, int(text_model.config.dim)
        self.video_model = video_model
        self.text_model = text_model
        self.vid_proj = nn.Sequential(nn.Linear(dim, config.projection_dim))
        self.txt_proj = nn.Sequential(nn.ReLU(), nn.Linear(text_dim, config.projection_dim))
        if objective.reads_text_to_sort and text_dim != dim:  # not in the official layout, where both are 768
            self.txt_adapter = nn.Linear(text_dim, dim)
        if objective.sorts:
            self.pred_model = _sorter(config)
        if not objective.align:
            self.vid_proj.requires_grad_(False)
            self.txt_proj.requires_grad_(False)
            if objective.stop_gradient or not objective.reads_text_to_sort:
                self.text_model.requires_grad_(False)

    @classmethod
    def seeded(cls, config: TVTSConfig, tokenizer: TextTokenizer, seed: int) -> Self:
        """The model initialised from a seed alone (and pretrained text weights); the global random state is kept.

        Args:
            config: of the model.
            tokenizer: of the run.
            seed: of all weights that are drawn.

        Raises:
            UserError: pretrained text weights cannot be had.
        """
        video_model = VideoTransformer.seeded(config.video, seed)
        text_model = build_text_model(config.text, tokenizer, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, video_model, text_model)

    def present(self, batch: int, frames: int, generator: torch.Generator, mask: float | None = None) -> Presentation:
        """Draw what to show of clips, on the CPU.

        Args:
            batch: clips.
            frames: of each.
            generator: on the CPU.
            mask: share to drop, in place of the configuration's (the paper masks no captioned image or clip).

        Raises:
            UserError: too few frames to cut into the pieces that are to be sorted.
        """
        config, objective = self.config, self.config.objective
        return present(
            batch=batch,
            tubelets=frames // config.video.tubelet,
            grid=config.video.grid,
            mask=config.mask if mask is None else mask,
            pieces=self._pieces(frames) if objective.sorts_video else None,
            shuffled=config.items if objective.sort == "factorial" else 0,
            generator=generator,
        )

    def forward(
        self, clips: Tensor, input_ids: Tensor, attention_mask: Tensor, segments: Tensor, shown: Presentation
    ) -> TVTSOutput:
        """Embeddings and sorting logits of one batch.

        Args:
            clips: [B, 3, T, H, W], normalised.
            input_ids: int64 [B, K, L], tokens of the segments in true order.
            attention_mask: int64 [B, K, L]; rows of padding may be all zero.
            segments: int64 [B], how many segments of each sample are real, at least 1.
            shown: what to show of these clips, from `present`.
        """
        objective = self.config.objective
        tokens = cls = None
        if objective.sorts and not objective.sorts_video:
            tokens = self.video_model(clips, shown.keep)  # [B, 1+N, D]
            cls = tokens[:, 0]
        elif objective.align:
            cls = self.video_model.embed(clips, shown.keep)  # [B, D]: nobody reads the other tokens
        needs_text = objective.align or objective.reads_text_to_sort
        words = self.text_tokens(input_ids, attention_mask) if needs_text else None  # [B, K, Dt]
        video = text = None
        if objective.align:
            assert words is not None
            video, text = self.vid_proj(cls), self._mean_projected(words, segments)
        frames = self._encode_pieces(clips, shown) if objective.sorts_video else tokens  # [B, U or 1+N, D]
        logits = None if frames is None else self._sort(frames, words, shown)
        if objective.align:
            return TVTSOutput(video=video, text=text, sort_logits=logits, order=shown.order)
        assert frames is not None
        is_trained = objective.reads_text_to_sort and not objective.stop_gradient
        return TVTSOutput(
            video=None,
            text=None,
            sort_logits=logits,
            order=shown.order,
            clip_cls=frames[:, 0].detach(),
            text_cls=words[:, 0].detach() if words is not None and is_trained else None,
        )

    def text_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[CLS] of every segment, [B, K, Dt], of ids and mask int64 [B, K, L]."""
        mask = attention_mask.flatten(0, 1).clone()
        mask[:, 0] = 1  # a row of padding attends to its first token: a softmax over nothing is NaN on some devices
        cls: Tensor = cls_tokens(self.text_model, input_ids.flatten(0, 1), mask).unflatten(0, input_ids.shape[:2])
        return cls

    def embed_video(self, clips: Tensor) -> Tensor:
        """[B, P] of whole clips [B, 3, T, H, W], nothing dropped; compare with `embed_text` by cosine."""
        return self.vid_proj(self.video_model.embed(clips))  # type: ignore[no-any-return]

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor, segments: Tensor) -> Tensor:
        """Projected transcripts; compare with `embed_video` by cosine.

        Args:
            input_ids: int64 [B, K, L].
            attention_mask: int64 [B, K, L].
            segments: int64 [B], how many of each are real.

        Returns:
            [B, P], not normalised.
        """
        return self._mean_projected(self.text_tokens(input_ids, attention_mask), segments)

    def _mean_projected(self, words: Tensor, segments: Tensor) -> Tensor:
        """Mean over the real segments, after projection: [B, P] of [CLS] tokens [B, K, Dt]."""
        real = torch.arange(words.shape[1], device=words.device) < segments[:, None]  # [B, K]
        projected = self.txt_proj(words) * real[..., None]
        return projected.sum(dim=1) / segments[:, None]  # type: ignore[no-any-return]

    def _sort(self, frames: Tensor, words: Tensor | None, shown: Presentation) -> Tensor:
        """Logits of the sorter, from a clip's tokens or its pieces. Items go in in true order, or as `shown` says."""
        objective = self.config.objective
        if words is not None and objective.reads_text_to_sort:
            words = words.detach() if objective.stop_gradient else words
            words = self.txt_adapter(words) if hasattr(self, "txt_adapter") else words  # [B, K, D]
        if shown.order is not None and objective.sorts_video:
            frames = _take(frames, shown.order)
        elif shown.order is not None:
            assert words is not None
            words = _take(words, shown.order)
        if objective.target == "vcop":
            return self.pred_model(frames)  # type: ignore[no-any-return]
        return self.pred_model(frames, words)  # type: ignore[no-any-return]

    def _encode_pieces(self, clips: Tensor, shown: Presentation) -> Tensor:
        """[CLS] of every piece, encoded as a clip of its own: [B, U, D] in true order."""
        pieces = self._pieces(clips.shape[2])
        cut = pieces.cut(clips, self.config.video.tubelet)  # [B*U, 3, T', H, W]
        keep = None if shown.piece_keep is None else shown.piece_keep.flatten(0, 1)
        pieces_cls: Tensor = self.video_model.embed(cut, keep).unflatten(0, (len(clips), pieces.count))
        return pieces_cls

    def _pieces(self, frames: int) -> Pieces:
        """How clips of `frames` frames are cut for sorting."""
        tubelets = frames // self.config.video.tubelet
        if tubelets < self.config.items:
            raise UserError(
                f"clips of {frames} frames make {tubelets} tubelets and cannot be cut into the {self.config.items} "
                f"pieces that target {self.config.objective.target} sorts"
            )
        return Pieces.of(tubelets, self.config.items)


def _sorter(config: TVTSConfig) -> nn.Module:
    """The network that L_sort trains beside the encoders."""
    objective, dim = config.objective, config.video.embed_dim
    if objective.target == "vcop":
        return OrderClassifier(dim, config.items)
    return SortTransformer(
        dim,
        config.sorter_heads or config.video.num_heads,
        config.items,
        objective.sort,
        sorts_video=objective.sorts_video,
        context=objective.segments,
    )


def _take(items: Tensor, order: Tensor) -> Tensor:
    """Items [B, K, D] as shown: slot s gets item order[b, s]."""
    return items.gather(1, order[..., None].expand(-1, -1, items.shape[-1]))
