"""한국어 대화: 글자 수로는 토큰을 어림할 수 없으므로, 모델의 토크나이저로 세고 자릅니다. 모델은 대본대로 답합니다.

A chat in Korean. Four characters a token is a rule of thumb for English; it finds less than half of these.
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer import TokenBuffer, TokenCounter

SYSTEM = SystemMessage("당신은 제주도 여행을 돕는 안내원입니다. 두 문장 이내로 답하세요.")
TALK = {
    "다음 주에 부모님과 제주도에 가려고 해요. 어디부터 가면 좋을까요?": (
        "첫날은 성산일출봉 근처에 묵으시길 권합니다. 아침 일찍 오르면 사람이 적어 한적합니다."
    ),
    "어머니가 무릎이 안 좋으신데 오래 걷지 않는 곳도 있나요?": (
        "비자림은 길이 평평해서 천천히 걷기 좋고, 휠체어도 빌릴 수 있습니다. 카멜리아힐도 쉬어 갈 의자가 많습니다."
    ),
    "비가 오면 어떻게 하죠?": "그럴 때는 본태박물관이나 아쿠아플라넷이 좋습니다. 두 곳 모두 주차장이 가깝습니다.",
    "저녁은 어디서 먹을까요? 아버지는 회를 안 드세요.": (
        "동문시장 근처에 흑돼지를 잘하는 집이 많습니다. 갈치조림도 맵지 않게 부탁하면 부모님이 드시기 좋습니다."
    ),
    "렌터카는 꼭 있어야 하나요?": "부모님과 함께라면 있는 편이 낫습니다. 공항에서 빌리고 반납하면 편합니다.",
    "그럼 언제까지 예약해야 하나요?": "주말이라면 두 주 전에는 예약하시는 편이 안전합니다.",
}

counter = TokenCounter("gpt-4o")  # 모델 이름만으로도 셀 수 있습니다
buffer = TokenBuffer(250, token_counter=counter)
model = FakeListChatModel(responses=list(TALK.values()))
chain = buffer | model

history: list[BaseMessage] = [SYSTEM]
for question in TALK:
    history.append(HumanMessage(question))
    window = buffer.window(history)
    reply = chain.invoke(history)
    history.append(AIMessage(reply.text))
    print(f"> {question}\n{reply.text}")
    print(f"  (메시지 {len(window.kept)}개, {window.tokens}토큰; 빠진 메시지 {len(window.dropped)}개)")

characters = sum(len(message.text) for message in history)
print(f"\n전체 {len(history)}개 메시지는 {characters}자, {counter(history)}토큰입니다.")
print(f"네 글자를 한 토큰으로 치면 {characters // 4}토큰으로, 실제의 절반도 되지 않습니다.")
