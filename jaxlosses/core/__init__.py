"""What every loss stands on, and what knows no loss: inputs are checked and masked here, and values are reduced.

checks         shapes, dtypes, masks and keywords at the entrance of a loss; checks of values under `checked`
labels         class ids or distributions, behind one form
masks          which elements count, and how much
reduction      values and their mask become "none", "sum", "mean" or "parts"
numerics       functions whose value and gradient stay right at the edges
collectives    sums and gathers over devices, if there is an axis name
named_vectors  numbers by name as a vector, and back
signatures     which parameters of a function are inputs, and which are options
errors         the phrases that error messages share
types          the words that every signature shares
"""
