; Scores a forest: LLVM's language, compiled in memory for the processor at hand by forest_kernel.py. The tables are those
; of forest.py; https://llvm.org/docs/LangRef.html explains the language.
;
; 64 rows at a time go through all trees. Of each tree every split is tested, whatever the way of a row is: a row that a
; split sends to the right clears the bits of the leaves on its left, and the lowest bit that remains is the row's leaf
; (QuickScorer, Lucchese and others, 2015). So the way through the code does not depend on what a row holds, and one
; instruction works on many rows. The sums are added in the order of the trees: their bits are those of a plain loop.

%reals = type <64 x double>
%ints = type <64 x i32>
%flags = type <64 x i1>
%pointers = type <64 x ptr>

%input = type { double, double, i32, i32 }                ; zero's bound, what stands for missing, feature, flags
%part = type { i32, i32, i32, i32, i64, i64 }             ; how many splits of each test; output or -1; first leaf
%split = type { i64, i32, i32, i32, i32 }                 ; threshold or set, input, codes in the set, mask, nothing
%forest = type { i64, ptr, i64, ptr, ptr, ptr, ptr,       ; inputs, parts (the number, then the table), splits, sets, leaves
                 i64, double, i64, double }               ; outputs, divisor, finish and its factor

declare double @exp(double)
declare %reals @llvm.fabs.v64f64(%reals)
declare %ints @llvm.cttz.v64i32(%ints, i1)
declare %ints @llvm.fptosi.sat.v64i32.v64f64(%reals)
declare %flags @llvm.get.active.lane.mask.v64i1.i64(i64, i64)
declare %reals @llvm.masked.load.v64f64.p0(ptr, i32, %flags, %reals)
declare %reals @llvm.masked.gather.v64f64.v64p0(%pointers, i32, %flags, %reals)
declare %ints @llvm.masked.gather.v64i32.v64p0(%pointers, i32, %flags, %ints)

; %columns: float64 [features][%rows]; %values: float64 [%rows][outputs]; %cells, %sums: room for 64 numbers of each
; input and of each output, at a multiple of 64 bytes.
define void @score(ptr %forest, ptr %columns, i64 %rows, ptr %cells, ptr %sums, ptr %values) {
entry:
  %outputs.p = getelementptr %forest, ptr %forest, i64 0, i32 7
  %outputs = load i64, ptr %outputs.p
  br label %block

block:
  %first = phi i64 [ 0, %entry ], [ %next, %block.rest ]
  %left = sub i64 %rows, %first
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %block.body, label %end
block.body:
  %large = icmp sgt i64 %left, 64
  %live = select i1 %large, i64 64, i64 %left
  call void @prepare(ptr %forest, ptr %columns, i64 %rows, i64 %first, i64 %live, ptr %cells)
  br label %clear
clear:
  %k = phi i64 [ 0, %block.body ], [ %k.next, %clear ]
  %sum.p = getelementptr %reals, ptr %sums, i64 %k
  store %reals zeroinitializer, ptr %sum.p
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %outputs
  br i1 %k.more, label %clear, label %block.rest
block.rest:
  call void @add_trees(ptr %forest, ptr %cells, ptr %sums)
  %at = mul i64 %first, %outputs
  %values.p = getelementptr double, ptr %values, i64 %at
  call void @finish(ptr %forest, ptr %sums, i64 %live, ptr %values.p)
  %next = add i64 %first, 64
  br label %block
end:
  ret void
}

; Fill %cells for the block of rows that begins at %first: what is missing takes the place that sends it the right way, and
; categories become whole numbers.
define internal void @prepare(ptr %forest, ptr %columns, i64 %rows, i64 %first, i64 %live, ptr %cells) {
entry:
  %inputs = load i64, ptr %forest
  %table.p = getelementptr %forest, ptr %forest, i64 0, i32 1
  %table = load ptr, ptr %table.p
  %here = call %flags @llvm.get.active.lane.mask.v64i1.i64(i64 0, i64 %live)
  br label %input

input:
  %i = phi i64 [ 0, %entry ], [ %i.next, %input.rest ]
  %more = icmp slt i64 %i, %inputs
  br i1 %more, label %input.body, label %end
input.body:
  %tiny.p = getelementptr %input, ptr %table, i64 %i, i32 0
  %tiny = load double, ptr %tiny.p
  %missing.p = getelementptr %input, ptr %table, i64 %i, i32 1
  %missing = load double, ptr %missing.p
  %feature.p = getelementptr %input, ptr %table, i64 %i, i32 2
  %feature.32 = load i32, ptr %feature.p
  %feature = sext i32 %feature.32 to i64
  %flags.p = getelementptr %input, ptr %table, i64 %i, i32 3
  %flags = load i32, ptr %flags.p
  %flag.zero = and i32 %flags, 1
  %zero.missing = icmp ne i32 %flag.zero, 0
  %flag.category = and i32 %flags, 2
  %category = icmp ne i32 %flag.category, 0

  %start = mul i64 %feature, %rows
  %place = add i64 %start, %first
  %raw.p = getelementptr double, ptr %columns, i64 %place
  %raw = call %reals @llvm.masked.load.v64f64.p0(ptr %raw.p, i32 8, %flags %here, %reals zeroinitializer)
  %size = call %reals @llvm.fabs.v64f64(%reals %raw)
  %tiny.1 = insertelement %reals poison, double %tiny, i64 0
  %tiny.all = shufflevector %reals %tiny.1, %reals poison, %ints zeroinitializer
  %zero = fcmp ole %reals %size, %tiny.all
  %plain = select %flags %zero, %reals zeroinitializer, %reals %raw
  %nan = fcmp uno %reals %raw, %raw
  %gone.zero = select i1 %zero.missing, %flags %zero, %flags zeroinitializer
  %gone = or %flags %nan, %gone.zero
  %missing.1 = insertelement %reals poison, double %missing, i64 0
  %missing.all = shufflevector %reals %missing.1, %reals poison, %ints zeroinitializer
  %number = select %flags %gone, %reals %missing.all, %reals %plain
  %cell = getelementptr %reals, ptr %cells, i64 %i
  br i1 %category, label %input.code, label %input.number
input.number:
  store %reals %number, ptr %cell
  br label %input.rest
input.code:
  %code = call %ints @llvm.fptosi.sat.v64i32.v64f64(%reals %number)
  store %ints %code, ptr %cell
  br label %input.rest
input.rest:
  %i.next = add i64 %i, 1
  br label %input
end:
  ret void
}

; Add each tree's leaf values to %sums. A tree of more than 32 leaves comes in parts of 32, the last one first: of the leaf
; values that are found, the one of the foremost part stands.
define internal void @add_trees(ptr %forest, ptr %cells, ptr %sums) {
entry:
  %parts.p = getelementptr %forest, ptr %forest, i64 0, i32 2
  %parts = load i64, ptr %parts.p
  %table.p = getelementptr %forest, ptr %forest, i64 0, i32 3
  %table = load ptr, ptr %table.p
  %splits.p = getelementptr %forest, ptr %forest, i64 0, i32 4
  %splits = load ptr, ptr %splits.p
  %sets.p = getelementptr %forest, ptr %forest, i64 0, i32 5
  %sets = load ptr, ptr %sets.p
  %leaves.p = getelementptr %forest, ptr %forest, i64 0, i32 6
  %leaves = load ptr, ptr %leaves.p
  br label %part

part:
  %p = phi i64 [ 0, %entry ], [ %p.next, %part.rest ]
  %split = phi ptr [ %splits, %entry ], [ %many.split, %part.rest ]
  %found = phi %reals [ zeroinitializer, %entry ], [ %found.next, %part.rest ]
  %more = icmp slt i64 %p, %parts
  br i1 %more, label %part.body, label %end
part.body:
  %lows.p = getelementptr %part, ptr %table, i64 %p, i32 0
  %lows = load i32, ptr %lows.p
  %highs.p = getelementptr %part, ptr %table, i64 %p, i32 1
  %highs = load i32, ptr %highs.p
  %fews.p = getelementptr %part, ptr %table, i64 %p, i32 2
  %fews = load i32, ptr %fews.p
  %manies.p = getelementptr %part, ptr %table, i64 %p, i32 3
  %manies = load i32, ptr %manies.p
  %output.p = getelementptr %part, ptr %table, i64 %p, i32 4
  %output = load i64, ptr %output.p
  %leaf.p = getelementptr %part, ptr %table, i64 %p, i32 5
  %leaf.first = load i64, ptr %leaf.p
  br label %low

; Splits by a number, left if it is missing: right if it is greater.
low:
  %low.split = phi ptr [ %split, %part.body ], [ %low.next, %low.body ]
  %low.bits = phi %ints [ splat (i32 -1), %part.body ], [ %low.left, %low.body ]
  %low.n = phi i32 [ %lows, %part.body ], [ %low.n.next, %low.body ]
  %low.none = icmp eq i32 %low.n, 0
  br i1 %low.none, label %high, label %low.body
low.body:
  %low.value = load double, ptr %low.split
  %low.input.p = getelementptr %split, ptr %low.split, i64 0, i32 1
  %low.input = load i32, ptr %low.input.p
  %low.mask.p = getelementptr %split, ptr %low.split, i64 0, i32 3
  %low.mask = load i32, ptr %low.mask.p
  %low.cell = getelementptr %reals, ptr %cells, i32 %low.input
  %low.x = load %reals, ptr %low.cell
  %low.value.1 = insertelement %reals poison, double %low.value, i64 0
  %low.value.all = shufflevector %reals %low.value.1, %reals poison, %ints zeroinitializer
  %low.mask.1 = insertelement %ints poison, i32 %low.mask, i64 0
  %low.mask.all = shufflevector %ints %low.mask.1, %ints poison, %ints zeroinitializer
  %low.right = fcmp ogt %reals %low.x, %low.value.all
  %low.cleared = and %ints %low.bits, %low.mask.all
  %low.left = select %flags %low.right, %ints %low.cleared, %ints %low.bits
  %low.next = getelementptr %split, ptr %low.split, i64 1
  %low.n.next = sub i32 %low.n, 1
  br label %low

; Splits by a number, right if it is missing: right unless it is at most the threshold.
high:
  %high.split = phi ptr [ %low.split, %low ], [ %high.next, %high.body ]
  %high.bits = phi %ints [ %low.bits, %low ], [ %high.left, %high.body ]
  %high.n = phi i32 [ %highs, %low ], [ %high.n.next, %high.body ]
  %high.none = icmp eq i32 %high.n, 0
  br i1 %high.none, label %few, label %high.body
high.body:
  %high.value = load double, ptr %high.split
  %high.input.p = getelementptr %split, ptr %high.split, i64 0, i32 1
  %high.input = load i32, ptr %high.input.p
  %high.mask.p = getelementptr %split, ptr %high.split, i64 0, i32 3
  %high.mask = load i32, ptr %high.mask.p
  %high.cell = getelementptr %reals, ptr %cells, i32 %high.input
  %high.x = load %reals, ptr %high.cell
  %high.value.1 = insertelement %reals poison, double %high.value, i64 0
  %high.value.all = shufflevector %reals %high.value.1, %reals poison, %ints zeroinitializer
  %high.mask.1 = insertelement %ints poison, i32 %high.mask, i64 0
  %high.mask.all = shufflevector %ints %high.mask.1, %ints poison, %ints zeroinitializer
  %high.right = fcmp ugt %reals %high.x, %high.value.all
  %high.cleared = and %ints %high.bits, %high.mask.all
  %high.left = select %flags %high.right, %ints %high.cleared, %ints %high.bits
  %high.next = getelementptr %split, ptr %high.split, i64 1
  %high.n.next = sub i32 %high.n, 1
  br label %high

; Splits by a set of codes below 64, in the split itself: left if the code is among them.
few:
  %few.split = phi ptr [ %high.split, %high ], [ %few.next, %few.body ]
  %few.bits = phi %ints [ %high.bits, %high ], [ %few.left, %few.body ]
  %few.n = phi i32 [ %fews, %high ], [ %few.n.next, %few.body ]
  %few.none = icmp eq i32 %few.n, 0
  br i1 %few.none, label %many, label %few.body
few.body:
  %few.set = load i64, ptr %few.split
  %few.input.p = getelementptr %split, ptr %few.split, i64 0, i32 1
  %few.input = load i32, ptr %few.input.p
  %few.mask.p = getelementptr %split, ptr %few.split, i64 0, i32 3
  %few.mask = load i32, ptr %few.mask.p
  %few.cell = getelementptr %reals, ptr %cells, i32 %few.input
  %few.x = load %ints, ptr %few.cell
  %few.low = trunc i64 %few.set to i32
  %few.high.64 = lshr i64 %few.set, 32
  %few.high = trunc i64 %few.high.64 to i32
  %few.low.1 = insertelement %ints poison, i32 %few.low, i64 0
  %few.low.all = shufflevector %ints %few.low.1, %ints poison, %ints zeroinitializer
  %few.high.1 = insertelement %ints poison, i32 %few.high, i64 0
  %few.high.all = shufflevector %ints %few.high.1, %ints poison, %ints zeroinitializer
  %few.mask.1 = insertelement %ints poison, i32 %few.mask, i64 0
  %few.mask.all = shufflevector %ints %few.mask.1, %ints poison, %ints zeroinitializer
  %few.upper = and %ints %few.x, splat (i32 32)
  %few.is.upper = icmp ne %ints %few.upper, zeroinitializer
  %few.word = select %flags %few.is.upper, %ints %few.high.all, %ints %few.low.all
  %few.place = and %ints %few.x, splat (i32 31)
  %few.shifted = lshr %ints %few.word, %few.place
  %few.set.has = trunc %ints %few.shifted to %flags
  %few.known = icmp ult %ints %few.x, splat (i32 64)
  %few.stays = and %flags %few.set.has, %few.known
  %few.cleared = and %ints %few.bits, %few.mask.all
  %few.left = select %flags %few.stays, %ints %few.bits, %ints %few.cleared
  %few.next = getelementptr %split, ptr %few.split, i64 1
  %few.n.next = sub i32 %few.n, 1
  br label %few

; Splits by a larger set, which begins at a word of the sets.
many:
  %many.split = phi ptr [ %few.split, %few ], [ %many.next, %many.body ]
  %many.bits = phi %ints [ %few.bits, %few ], [ %many.left, %many.body ]
  %many.n = phi i32 [ %manies, %few ], [ %many.n.next, %many.body ]
  %many.none = icmp eq i32 %many.n, 0
  br i1 %many.none, label %leaf, label %many.body
many.body:
  %many.first = load i64, ptr %many.split
  %many.input.p = getelementptr %split, ptr %many.split, i64 0, i32 1
  %many.input = load i32, ptr %many.input.p
  %many.codes.p = getelementptr %split, ptr %many.split, i64 0, i32 2
  %many.codes = load i32, ptr %many.codes.p
  %many.mask.p = getelementptr %split, ptr %many.split, i64 0, i32 3
  %many.mask = load i32, ptr %many.mask.p
  %many.cell = getelementptr %reals, ptr %cells, i32 %many.input
  %many.x = load %ints, ptr %many.cell
  %many.codes.1 = insertelement %ints poison, i32 %many.codes, i64 0
  %many.codes.all = shufflevector %ints %many.codes.1, %ints poison, %ints zeroinitializer
  %many.mask.1 = insertelement %ints poison, i32 %many.mask, i64 0
  %many.mask.all = shufflevector %ints %many.mask.1, %ints poison, %ints zeroinitializer
  %many.known = icmp ult %ints %many.x, %many.codes.all
  %many.set = getelementptr i32, ptr %sets, i64 %many.first
  %many.word.at = lshr %ints %many.x, splat (i32 5)
  %many.word.p = getelementptr i32, ptr %many.set, %ints %many.word.at
  %many.word = call %ints @llvm.masked.gather.v64i32.v64p0(%pointers %many.word.p, i32 4, %flags %many.known, %ints zeroinitializer)
  %many.place = and %ints %many.x, splat (i32 31)
  %many.shifted = lshr %ints %many.word, %many.place
  %many.stays = trunc %ints %many.shifted to %flags
  %many.cleared = and %ints %many.bits, %many.mask.all
  %many.left = select %flags %many.stays, %ints %many.bits, %ints %many.cleared
  %many.next = getelementptr %split, ptr %many.split, i64 1
  %many.n.next = sub i32 %many.n, 1
  br label %many

leaf:
  %some = icmp ne %ints %many.bits, zeroinitializer
  %lowest = call %ints @llvm.cttz.v64i32(%ints %many.bits, i1 false)
  %leaf.table = getelementptr double, ptr %leaves, i64 %leaf.first
  %leaf.all.p = getelementptr double, ptr %leaf.table, %ints %lowest
  %found.now = call %reals @llvm.masked.gather.v64f64.v64p0(%pointers %leaf.all.p, i32 8, %flags %some, %reals %found)
  %unfinished = icmp slt i64 %output, 0
  br i1 %unfinished, label %part.rest, label %tree
tree:
  %sum.p = getelementptr %reals, ptr %sums, i64 %output
  %sum = load %reals, ptr %sum.p
  %sum.next = fadd %reals %sum, %found.now
  store %reals %sum.next, ptr %sum.p
  br label %part.rest
part.rest:
  %found.next = phi %reals [ %found.now, %leaf ], [ zeroinitializer, %tree ]
  %p.next = add i64 %p, 1
  br label %part
end:
  ret void
}

; Turn the sums of %live rows into predictions: divide them, then
; 0 nothing, 1 the square with its sign, 2 exp, 3 1 / (1 + exp(-factor x)), 4 softmax over the outputs.
define internal void @finish(ptr %forest, ptr %sums, i64 %live, ptr %values) {
entry:
  %outputs.p = getelementptr %forest, ptr %forest, i64 0, i32 7
  %outputs = load i64, ptr %outputs.p
  %divisor.p = getelementptr %forest, ptr %forest, i64 0, i32 8
  %divisor = load double, ptr %divisor.p
  %finish.p = getelementptr %forest, ptr %forest, i64 0, i32 9
  %finish = load i64, ptr %finish.p
  %factor.p = getelementptr %forest, ptr %forest, i64 0, i32 10
  %factor = load double, ptr %factor.p
  br label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.rest ]
  %more = icmp slt i64 %r, %live
  br i1 %more, label %row.body, label %end
row.body:
  %at = mul i64 %r, %outputs
  %row.p = getelementptr double, ptr %values, i64 %at
  br label %output

output:
  %k = phi i64 [ 0, %row.body ], [ %k.next, %output.rest ]
  %greatest = phi double [ 0xFFF0000000000000, %row.body ], [ %greatest.next, %output.rest ]
  %sum.place = mul i64 %k, 64
  %sum.at = add i64 %sum.place, %r
  %sum.p = getelementptr double, ptr %sums, i64 %sum.at
  %sum = load double, ptr %sum.p
  %x = fdiv double %sum, %divisor
  %greater = fcmp olt double %greatest, %x
  %greatest.next = select i1 %greater, double %x, double %greatest
  switch i64 %finish, label %output.rest [ i64 1, label %square
                                           i64 2, label %exponential
                                           i64 3, label %sigmoid ]
square:
  %above = fcmp ogt double %x, 0.0
  %above.1 = uitofp i1 %above to double
  %below = fcmp olt double %x, 0.0
  %below.1 = uitofp i1 %below to double
  %sign = fsub double %above.1, %below.1
  %signed = fmul double %sign, %x
  %squared = fmul double %signed, %x
  br label %output.rest
exponential:
  %power = call double @exp(double %x)
  br label %output.rest
sigmoid:
  %minus.factor = fneg double %factor
  %odds.log = fmul double %minus.factor, %x
  %odds = call double @exp(double %odds.log)
  %total = fadd double 1.0, %odds
  %probability = fdiv double 1.0, %total
  br label %output.rest
output.rest:
  %value = phi double [ %x, %output ], [ %squared, %square ], [ %power, %exponential ], [ %probability, %sigmoid ]
  %value.p = getelementptr double, ptr %row.p, i64 %k
  store double %value, ptr %value.p
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %outputs
  br i1 %k.more, label %output, label %outputs.done
outputs.done:
  %softmax = icmp eq i64 %finish, 4
  br i1 %softmax, label %weight, label %row.rest

weight:
  %w = phi i64 [ 0, %outputs.done ], [ %w.next, %weight ]
  %weights = phi double [ 0.0, %outputs.done ], [ %weights.next, %weight ]
  %weight.p = getelementptr double, ptr %row.p, i64 %w
  %w.x = load double, ptr %weight.p
  %w.below = fsub double %w.x, %greatest.next
  %w.value = call double @exp(double %w.below)
  store double %w.value, ptr %weight.p
  %weights.next = fadd double %weights, %w.value
  %w.next = add i64 %w, 1
  %w.more = icmp slt i64 %w.next, %outputs
  br i1 %w.more, label %weight, label %share
share:
  %s = phi i64 [ 0, %weight ], [ %s.next, %share ]
  %share.p = getelementptr double, ptr %row.p, i64 %s
  %s.weight = load double, ptr %share.p
  %s.value = fdiv double %s.weight, %weights.next
  store double %s.value, ptr %share.p
  %s.next = add i64 %s, 1
  %s.more = icmp slt i64 %s.next, %outputs
  br i1 %s.more, label %share, label %row.rest
row.rest:
  %r.next = add i64 %r, 1
  br label %row
end:
  ret void
}
