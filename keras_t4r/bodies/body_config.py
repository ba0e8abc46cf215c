"""Configs of architectures for which Hugging Face has none."""

import dataclasses
from typing import ClassVar


@dataclasses.dataclass
class BodyConfig:
    """Base of this package's own configs: a dataclass with a `model_type`.

    A subclass has at least the fields, or properties, `hidden_size`,
    `num_attention_heads` and `num_hidden_layers`.
    """

    model_type: ClassVar[str]
    _by_type: ClassVar[dict] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A subclass that names no type of its own stays another form of its base.
        if "model_type" in vars(cls):
            cls._by_type[cls.model_type] = cls

    def to_dict(self):
        """The fields as plain JSON data, with the `model_type`."""
        return {"model_type": self.model_type, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data):
        """The config of `to_dict`'s data; `None` where its `model_type` is another's.

        Raises:
            TypeError: `data` has fields that the config has not.
        """
        data = dict(data)
        own = cls.of_type(data.pop("model_type", None))
        return own and own(**data)

    @classmethod
    def of_type(cls, model_type):
        """The class of a `model_type`; `None` where it is none of this package's."""
        return cls._by_type.get(model_type)
