"""Tables whose rows devices share, whatever their number."""

from keras import ops

from keras_t4r.backend import as_table, devices_of_a_model


class ShardedRows:
    """Mixin of a layer whose tables may be spread over devices by rows.

    A device gets as many rows as the others, so under `ModelParallel` a table is made
    with some rows more, which stand for nothing: they are left out of what the layer
    gives, and of its file, which any number of devices then reads.
    """

    def add_table(self, name, rows, dim, initializer, **more):
        """A weight of `rows` rows, or some more; see `rows_of`.

        Args:
            name, initializer: of `add_weight`, as is what `more` there is.
            rows, dim: ints. Shape of the table.
        """
        devices = devices_of_a_model()
        held = -(-rows // devices) * devices
        table = self.add_weight(
            name=name,
            shape=(held, dim),
            initializer=initializer,
            autocast=False,
            **more,
        )
        if held != rows:
            self.sharded_rows = {**getattr(self, "sharded_rows", {}), table.name: rows}
        return table

    def rows_of(self, table):
        """The table as it is handed on, without the rows that stand for nothing."""
        rows = getattr(self, "sharded_rows", {}).get(table.name)
        whole = as_table(table)
        return whole if rows is None else whole[:rows]

    def save_own_variables(self, store):
        # What may be written once only is cut before.
        whole = {}
        super().save_own_variables(whole)
        for key, variable, rows in self._cut():
            whole[key] = ops.convert_to_numpy(variable)[:rows]
        for key, value in whole.items():
            store[key] = value

    def load_own_variables(self, store):
        held = {key: store[key] for key in store.keys()}
        for key, variable, rows in self._cut():
            value = ops.convert_to_numpy(variable).copy()
            value[:rows] = held[key]
            held[key] = value
        super().load_own_variables(held)

    def _cut(self):
        """`(key in a file, variable, rows)` of the tables with rows too many."""
        cut = getattr(self, "sharded_rows", {})
        own = [*self._trainable_variables, *self._non_trainable_variables]
        for place, variable in enumerate(own):
            if variable.name in cut:
                yield str(place), variable, cut[variable.name]
