"""Checks a table of sessions as it is read: one sentence a fault, and no loop.

Each function takes one Arrow column and gives it back as numpy, or raises with
the file, the column and the row (counted from 1, as the ETL does).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_t4r.data.loader.arrow_layouts import is_list
from keras_t4r.data.loader.padding import event_cells, pad
from keras_t4r.schema import LARGEST_NUMBER


class ColumnReader:
    """Turns the columns of one piece of a file into checked numpy arrays.

    Args:
        where: string. What to call the file in errors.
        first_row: int. Rows of the file before the piece.
    """

    def __init__(self, where, first_row=0):
        self.where = where
        self.first_row = first_row

    def list_column(self, array, column):
        """Lengths and flat values of a list column."""
        if not is_list(array.type):
            self._fail_type(array.type, column, "single values", "a list a row")
        null = array.is_null()
        self._refuse_rows(null, column, "the list is null; leave the session out")
        lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        self._refuse_rows(
            lengths == 0,
            column,
            "the list is empty; a session has at least one event",
        )
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        if column.event_count is not None:
            return lengths, self._values_of_events(array.flatten(), column, offsets)
        values = self._values(array.flatten(), column, offsets)
        return lengths, values

    def _values_of_events(self, array, column, offsets):
        """Vectors or bags: an array `(events, most)`, bags padded with 0."""
        wanted = "a vector an event" if column.is_vector else "a bag of ids an event"
        if not is_list(array.type):
            self._fail_type(array.type, column, "single values", wanted)
        null = array.is_null()
        self._refuse(
            null,
            offsets,
            column,
            f"an event is null; it needs {wanted}",
            null.true_count,
        )
        lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        least, most = column.event_count
        wrong = (lengths < least) | (lengths > most)
        if wrong.any():
            place, length = self._first(wrong, offsets, column, lengths)
            raise ValueError(
                f"{place}: an event has {length} values, but the schema's event_count "
                f"is ({least}, {most}): mend the sessions or the schema."
            )
        within = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=within[1:])
        values = self._values(array.flatten(), column, within[offsets])
        if column.is_vector:
            return values.reshape(-1, most)
        if not len(lengths):
            return np.zeros((0, most), values.dtype)
        cells = event_cells(within[:-1], lengths, most)
        return pad(values, *cells, (len(lengths), most))

    def scalar_column(self, array, column, is_weight=False):
        """Values of a column with one value a session."""
        if is_list(array.type):
            self._fail_type(array.type, column, "lists", "one value a row")
        values = self._values(array, column, np.arange(len(array) + 1))
        if is_weight:
            self._refuse_rows(values < 0, column, "a weight is below 0")
        return values

    def same_lengths(self, lengths, expected, column, other):
        """Columns that change by the event have one value an event, all of them."""
        wrong = lengths != expected
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{self._place(column, row)}: the list has {lengths[row]} values, "
                f"but column {other!r} has {expected[row]}; give every list column "
                "of a session one value an event."
            )

    def _values(self, values, column, offsets):
        kind = values.type
        floating, is_id = column.is_float, column.is_categorical
        wanted = "integer ids" if is_id else "whole numbers"
        if is_list(kind):
            self._fail_type(kind, column, "lists of lists", "one number an event")
        if not (
            pa.types.is_integer(kind)
            or (pa.types.is_boolean(kind) and not (is_id and column.lowest_id))
            or (floating and pa.types.is_floating(kind))
        ):
            self._fail_type(kind, column, "values", "numbers" if floating else wanted)
        self._refuse(
            values.is_null(),
            offsets,
            column,
            "a value is null; fill it in, or encode it as the unknown id",
            any_fault=values.null_count > 0,
        )
        if not floating and not column.is_categorical:
            return self._whole_numbers(values, column, offsets)
        if floating:
            numbers = values.cast(pa.float32(), safe=False).to_numpy()
            # NaN is neither.
            low, high = numbers.min(initial=0), numbers.max(initial=0)
            if not (-LARGEST_NUMBER <= low and high <= LARGEST_NUMBER):
                self._refuse(
                    ~(np.abs(numbers) <= LARGEST_NUMBER),
                    offsets,
                    column,
                    f"a value is NaN, infinite or beyond {LARGEST_NUMBER:g}; fill it "
                    "in before training",
                )
            return numbers
        return self._ids(values, column, offsets)

    def _whole_numbers(self, values, column, offsets):
        """Labels and counts, which are no ids."""
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        numbers = values.to_numpy()
        limits = np.iinfo(np.int32)
        beyond = (numbers < limits.min) | (numbers > limits.max)
        self._refuse(
            beyond,
            offsets,
            column,
            "a value does not fit into int32; write numbers this large as float32",
        )
        return numbers.astype(np.int32)

    def _ids(self, values, column, offsets):
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        ids = values.to_numpy()
        if not len(ids):
            return ids.astype(np.int32)
        lowest = column.lowest_id
        if ids.min() < lowest:
            place, value = self._first(ids < lowest, offsets, column, ids)
            meaning = "id 0 is padding" if value == 0 else f"ids begin at {lowest}"
            where = " inside a session" if column.is_list else ""
            raise ValueError(
                f"{place}: id {value}{where}, but {meaning}; encode the column again, "
                "what is not known as the unknown id."
            )
        highest = column.cardinality - 1
        if ids.max() > highest:
            place, value = self._first(ids > highest, offsets, column, ids)
            raise ValueError(
                f"{place}: id {value} is beyond the schema's domain, which ends at "
                f"{highest}; use the schema written with this data."
            )
        return ids.astype(np.int32)

    def _first(self, faults, offsets, column, ids):
        position = int(faults.argmax())
        row = int(np.searchsorted(offsets, position, side="right")) - 1
        return self._place(column, row), ids[position]

    def _refuse_rows(self, faults, column, message):
        if isinstance(faults, pa.Array):
            faults = faults.to_numpy(zero_copy_only=False)
        if faults.any():
            raise ValueError(f"{self._place(column, int(faults.argmax()))}: {message}.")

    def _refuse(self, faults, offsets, column, message, any_fault=True):
        if not any_fault:
            return
        if isinstance(faults, pa.Array):
            faults = faults.to_numpy(zero_copy_only=False)
        if faults.any():
            place, _ = self._first(faults, offsets, column, faults)
            raise ValueError(f"{place}: {message}.")

    def _fail_type(self, kind, column, held, wanted):
        value_type = kind
        while is_list(value_type):
            value_type = value_type.value_type
        text = pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
        remedy = (
            "encode raw values with SessionETL first"
            if text
            else "write it as the schema says, or use the schema of this data"
        )
        raise TypeError(
            f"{self.where}, column {column.name!r} holds {held} of type {kind}, but "
            f"the schema asks for {wanted}; {remedy}."
        )

    def _place(self, column, row):
        return f"{self.where}, column {column.name!r}, row {self.first_row + row + 1}"
