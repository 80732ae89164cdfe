"""Words that stand in every conversation and tell none from another, and pairs of letters that do.

Of languages other than English only what is no English word: a text does not say which language it is in.
"""

from __future__ import annotations

_WORDS = {
    "English": (
        "a about after again all also am an and any are as at be because been before being but by can could d did "
        "do does doing don for from get gets getting go going got had has have having he hello her here hers hey "
        "hi him his how i if in into is it its just ll let like m me more most my no not now of ok okay on one or "
        "our ours out over please re s she should so some such t than thank thanks that the their theirs them "
        "then there these they this those to too up us ve very was we well were what when where which while who "
        "whom whose why will with would yes yet you your yours mine myself yourself"
    ),
    "English, of talking about what was said": (
        "tell told said say says remember remind know mention mentioned recall again previously earlier"
    ),
    "German": (
        "der das dem des und ist nicht ich sie wir ihr ein eine einen einem einer es mit für auf zu von auch "
        "wie wann wo wer ja nein bitte habe haben sind mein meine mich mir dein deine dir dich"
    ),
    "French": (
        "le la les une est et que qui quoi dans pas je tu il elle nous vous mon ma mes ta tes du au aux "
        "ce cette avec sur comment où quand oui non merci"
    ),
    "Spanish, Portuguese, Italian": (
        "el los las un una unos por para del al lo su sus mi mis tus y o e en es como cuando donde cual "
        "quien si se te yo nos gracias os um uma do da dos das em não eu meu minha seu sua qual quando onde "
        "obrigado il gli uno di che per sono mio mia tuo tua perché grazie"
    ),
    "Dutch": ("het een ik jij je wij niet voor op zijn heb hebt heeft mijn jouw wat waar wanneer hoe waarom"),
    "Russian": (
        "и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее мне было вот "
        "от меня еще нет о из ему теперь когда даже ну ли если уже или ни быть был него до вас опять вам ведь там "
        "потом себя ей они тут где есть надо ней для мы тебя их чем была сам чтоб без это этот мой моя моё какой "
        "какая"
    ),
}
_PAIRS = {
    "Korean": (
        "니다 습니 입니 합니 어요 아요 해요 세요 에요 예요 네요 군요 나요 까요 을까 는데 은데 지만 하고 하는 하지 "
        "하면 해서 어서 아서 했어 했는 했던 했죠 있는 있어 있나 없는 이에 에서 에게 한테 으로 부터 까지 이고 이라 "
        "라고 다고 냐고 거든 었어 었는 었던 였어 였죠 였지 뭐였 뭐예 뭔가 무엇 뭐 은 는 이 가 을 를 의 에 도 로 "
        "와 과 어디 언제 누구 어떤 어떻 떻게 얼마 그리 리고 그런 런데 그래 래서 저는 제가 내가 나는 나의 우리 "
        "당신 말했 말씀 씀드 알려 려줘 려주 주세"
    ),
    "Chinese": (
        "什么 怎么 怎样 哪里 哪个 多少 为什 我们 你们 他们 她们 这个 那个 这些 那些 可以 一个 一些 还有 没有 就是 "
        "不是 但是 因为 所以 如果 告诉 诉我 之前 以前 刚才 记得 请问 提到 说过"
    ),
    "Japanese": (
        "です ます した でし まし せん から まで ので のに って ては では には とは もの こと それ これ あれ どれ "
        "この その あの どの どこ いつ だれ なに なん ださ くだ さい てい いる いた いて する して れる れた ある "
        "あり あっ った かっ ない なか たい たか ょう しょ う"
    ),
}

STOP_WORDS = frozenset(word for words in _WORDS.values() for word in words.split())
STOP_PAIRS = frozenset(pair for pairs in _PAIRS.values() for pair in pairs.split())
"""Endings, particles, pronouns and question words; a letter alone stands for itself."""
